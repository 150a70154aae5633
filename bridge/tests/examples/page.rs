//! A page of `examples/`: its fenced blocks, in order. What each kind of block is for stands in examples/README.md.

use std::path::Path;

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the line where it begins.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be run to its end.
    Run,
    /// To be left running in the terminal of this name.
    Terminal(String),
    /// What the last command has said, or the terminal of this name.
    Says(Option<String>),
    /// What is in this file.
    File(String),
    Prose,
}

pub fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for (index, line) in page.lines().enumerate() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { line: index + 1, kind: kind(info), text: String::new() }),
            (Some(block), Some(_)) => blocks.push(block),
            (Some(mut block), None) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

fn kind(info: &str) -> Kind {
    let mut words = info.split_whitespace().map(str::to_owned);
    match (words.next().as_deref(), words.next()) {
        (Some("sh"), None) => Kind::Run,
        (Some("sh"), Some(name)) => Kind::Terminal(name),
        (Some("text"), name) => Kind::Says(name),
        (Some("yaml" | "python" | "js"), Some(file)) => Kind::File(file),
        _ => Kind::Prose,
    }
}

/// The first expected line that `said` does not hold after the one before it. `…` stands for anything within a line.
pub fn missing<'a>(said: &str, expected: &'a str) -> Option<&'a str> {
    let mut lines = said.lines();
    expected.lines().filter(|line| !line.trim().is_empty()).find(|line| !lines.any(|found| holds(found, line)))
}

fn holds(mut found: &str, parts: &str) -> bool {
    parts.split('…').all(|part| match found.split_once(part) {
        Some((_, rest)) => {
            found = rest;
            true
        }
        None => false,
    })
}

/// That a block shows a part of the file as it is.
pub fn check_file(folder: &Path, file: &str, block: &Block) {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(text.contains(&block.text), "line {}: {file} does not hold what the page shows:\n{text}", block.line);
}

#[test]
fn a_page_is_read_block_by_block() {
    let page = "# A\n```sh\none\ntwo\n```\ntext\n```sh sink\nx\n```\n```text sink\ny\n```\n```yaml a.yaml\n```\n```console\n```\n";
    let kinds: Vec<Kind> = blocks(page).into_iter().map(|block| block.kind).collect();
    let sink = || "sink".to_owned();
    assert_eq!(
        kinds,
        [Kind::Run, Kind::Terminal(sink()), Kind::Says(Some(sink())), Kind::File("a.yaml".into()), Kind::Prose]
    );
    assert_eq!((blocks(page)[0].text.as_str(), blocks(page)[1].line), ("one\ntwo\n", 7));
}

#[test]
fn expected_lines_are_looked_for_in_their_order() {
    let said = "a begins x=1\nb\nc\n";
    assert_eq!(missing(said, "begins …=1\nc\n"), None);
    assert_eq!(missing(said, "c\nb\n"), Some("b"));
    assert_eq!(missing(said, "1…begins\n"), Some("1…begins"));
}
