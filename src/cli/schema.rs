//! `hilbench schema`.

use super::{Exit, arguments, complain, out};

pub(super) fn schema(arguments: &arguments::Schema) -> Exit {
    for (name, text) in crate::plan::schema().into_iter().chain([crate::prove::schema()]) {
        match &arguments.write {
            None => out(&text),
            Some(directory) => {
                let path = directory.join(name);
                let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, &text));
                if let Err(error) = written {
                    complain(&format!("cannot write {}: {error}", path.display()));
                    return Exit::BenchError;
                }
                out(&format!("{}\n", path.display()));
            }
        }
    }
    Exit::Pass
}
