//! Measures host and bridge, prints a table, and writes target/bench.json.

use tests::bench::{bridge, host, load, report::Report};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [sink, how, port] = words.as_slice()
        && sink == "sink"
    {
        load::serve(how, port.parse().expect("a port")).await;
    }
    let folder = bridge::folder();
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder)?;
    let mut report = Report::default();
    host::measure(&folder, &mut report).await;
    bridge::measure(&folder, &mut report).await;
    std::fs::write(folder.with_extension("json"), report.to_json().to_string())?;
    std::fs::remove_dir_all(folder)
}
