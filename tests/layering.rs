//! Who may import whom. One package has no walls between its modules, so this test is the wall.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Module, and the modules it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("diagnostic", &["units"]),
    ("document", &["diagnostic", "units"]),
    ("event", &["units"]),
    ("channel", &["event", "units"]),
    ("journal", &["event", "units"]),
    ("standard", &["event", "diagnostic", "units"]),
    ("step", &["document", "channel", "event", "diagnostic", "units", "standard"]),
    ("rig", &["step", "document", "channel", "event", "diagnostic", "units", "standard"]),
    ("plan", &["rig", "step", "document", "channel", "event", "diagnostic", "units", "standard"]),
    ("driver", &["channel", "event", "units"]),
    ("virtual_dut", &["channel", "event", "units"]),
    ("run", &["plan", "rig", "step", "standard", "channel", "journal", "event", "units"]),
    ("view", &["event", "units", "journal"]),
    ("report", &["view", "event", "units", "journal"]),
    ("console", &["view", "event", "units", "journal"]),
];

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Modules named by `crate::` paths: `use crate::event::X`, `use crate::{event::X, units}`, `crate::event::X` in code.
fn named(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut word, mut at_start) = (1, String::new(), true);
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && c == ',' {
                    at_start = true;
                } else if depth == 1 && at_start && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                    continue;
                } else if !word.is_empty() {
                    at_start = false;
                }
                if !word.is_empty() {
                    found.insert(std::mem::take(&mut word));
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

fn edges() -> BTreeMap<String, BTreeSet<(String, PathBuf)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut edges: BTreeMap<String, BTreeSet<(String, PathBuf)>> = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let names = named(&fs::read_to_string(&file).unwrap());
        edges.entry(module).or_default().extend(names.into_iter().map(|name| (name, relative.to_owned())));
    }
    edges
}

#[test]
fn imports_follow_the_table() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, names) in edges() {
        if ["cli", "main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!("module `{module}` is not in the table"));
            continue;
        };
        for (name, file) in names {
            if name != module && allowed.contains_key(name.as_str()) && !may.contains(&name.as_str()) || name == "cli" {
                wrong.push(format!("{}: `{module}` may not import `{name}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < ALLOWED.len() {
        let next = ALLOWED.iter().find(|(name, may)| !settled.contains(name) && may.iter().all(|m| settled.contains(m)));
        let (name, _) = next.unwrap_or_else(|| panic!("a cycle among the modules besides {settled:?}"));
        settled.insert(name);
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text = "use crate::{\n    event::{A, B},\n    units,\n};\nfn f() { crate::plan::x() }\n// crate::not\n";
    assert_eq!(named(text), ["event", "units", "plan"].map(str::to_owned).into());
}
