//! Who may import whom. One package has no walls between its modules, so this test is the wall.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The table of `docs/architecture.md`: module, and the modules it may name.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| module |")).skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let may = cells[2].split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        (cells[0].to_owned(), may)
    };
    rows.map(row).collect()
}

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
    let allowed = table();
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
            if name != module && allowed.contains_key(&name) && !may.contains(&name) || name == "cli" {
                wrong.push(format!("{}: `{module}` may not import `{name}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_module_and_has_no_cycle() {
    let table = table();
    let modules: BTreeSet<_> = edges().into_keys().filter(|name| !["cli", "main", "lib"].contains(&name.as_str())).collect();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), modules);
    let mut settled: BTreeSet<&String> = BTreeSet::new();
    while settled.len() < table.len() {
        let next = table.iter().find(|(name, may)| !settled.contains(name) && may.iter().all(|m| settled.contains(m)));
        let (name, _) = next.unwrap_or_else(|| panic!("a cycle among the modules besides {settled:?}"));
        settled.insert(name);
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text = "use crate::{\n    event::{A, B},\n    units,\n};\nfn f() { crate::plan::x() }\n// crate::not\n";
    assert_eq!(named(text), ["event", "units", "plan"].map(str::to_owned).into());
}
