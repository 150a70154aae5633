//! The binary as a process: how it is told what to do, how it says no, how it ends.

use crate::house::{Files, post};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

fn till_host(files: &Files) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_till-host"));
    let precompiled = files.config.precompiled_dir.as_deref().expect("a folder");
    command.arg("--precompiled").arg(precompiled).current_dir(files.folder.path());
    command.env_remove("RUST_LOG").env("PORT", "0").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The address in the line that tells the first route.
fn listening(child: &mut Child) -> (SocketAddr, BufReader<ChildStderr>) {
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while lines.read_line(&mut line).expect("a line") > 0 {
        if let Some((_, rest)) = line.split_once("http://0.0.0.0:") {
            let port = rest.split('/').next().and_then(|port| port.parse().ok()).expect("a port");
            return (SocketAddr::from(([127, 0, 0, 1], port)), lines);
        }
        line.clear();
    }
    panic!("it did not start");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sigterm_it_ends_with_0_and_its_log_tells_each_invocation_and_no_secret() {
    let files = Files::with_hosts(&[]);
    let mut child = till_host(&files).env("SPIN_VARIABLE_PASSWORD", "hunter2").spawn().expect("it starts");
    let (address, mut log) = listening(&mut child);
    assert_eq!(post(address, "/guest/variable?password", "".into()).await.text, "hunter2");
    post(address, "/guest/log?something", "".into()).await;
    assert!(Command::new("kill").arg(child.id().to_string()).status().expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let mut text = String::new();
    log.read_to_string(&mut text).expect("a log");
    for expected in
        ["said something", "complained something", "component=\"guest\"", "status=200", "route=\"/guest/...\""]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn all_that_is_wrong_is_told_in_one_message_and_ends_with_64() {
    let files = Files::with_hosts(&["http://a/path"]);
    let output = till_host(&files).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.contains("SPIN_VARIABLE_PASSWORD") && told.contains("has a path"), "{told}");
    assert_eq!(till_host(&files).arg("--surprise").output().expect("it runs").status.code(), Some(64));
}
