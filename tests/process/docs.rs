//! Examples in the documents are what the program prints.

use std::fs;

use regex::Regex;

use super::bench::{Bench, shipped};

const DOCUMENTS: &[&str] = &["README.md"];

/// Blocks of a document that show commands, and for each command what it prints.
fn examples(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands = blocks.flat_map(|block| block.split("$ ").skip(1));
    let example = |text: &str| {
        let (command, output) = text.split_once('\n').unwrap();
        (command.to_owned(), output.to_owned())
    };
    commands.map(example).collect()
}

/// The same where a run differs from the next.
fn steady(text: &str, bench: &Bench) -> String {
    let text = text.replace(&format!("{}/", bench.store().display()), ".hilbench/");
    let same = |text: String, pattern: &str, with: &str| Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    let text = same(text, r"\d{8}-\d{6}-[0-9a-f]{4}", "RUN");
    let text = same(text, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME");
    let text = same(text, r"[0-9.]+ s of wall time", "WALL");
    same(text, r"(?m)^command: \S+/hilbench", "command: hilbench")
}

#[test]
fn examples_are_what_the_program_prints() {
    let mut tried = 0;
    for document in DOCUMENTS {
        let bench = Bench::new();
        for (command, printed) in examples(&fs::read_to_string(shipped(document)).unwrap()) {
            let words: Vec<_> = command.split_whitespace().collect();
            let arguments =
                words.strip_prefix(&["hilbench"]).or_else(|| words.strip_prefix(&["cargo", "run", "--release", "--"]));
            let Some(arguments) = arguments else { panic!("{document}: what is `{command}`?") };
            let ended = bench.hilbench(arguments);
            let found = format!("{}{}", ended.stdout, ended.stderr);
            assert_eq!(steady(&found, &bench), steady(&printed, &bench), "{document}: {command}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no example was found");
}
