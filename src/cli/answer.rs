//! `hilbench answer`: answers the prompts of a run from another terminal. And the answers file of `hilbench run`.

use std::path::Path;

use serde::Deserialize;

use super::{Exit, arguments, complain, out};
use crate::{
    event::Request,
    journal::{RunDir, RunState, find, runs},
    run::{control, desk::Prepared},
    view::{Prompt, RunView, sanitise::line},
};

/// Largest answers file.
const LARGEST: u64 = 1 << 20;

/// The name under which this user answers.
pub(super) fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    user.map_or_else(|| "somebody".to_owned(), |user| user.name)
}

/// An entry of an answers file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    prompt: String,
    answer: String,
}

/// The answers of a file: a YAML or JSON list of `prompt` (a pattern, found anywhere in the prompt's text) and `answer`.
pub(super) fn prepared(path: &Path) -> Result<Vec<Prepared>, String> {
    let failed = |what: String| format!("answers file {}: {what}", path.display());
    let metadata = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if metadata.len() > LARGEST {
        return Err(failed("it is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let entries: Vec<Entry> = serde_saphyr::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let prepare = |Entry { prompt, answer }| {
        let pattern = regex::Regex::new(&prompt).map_err(|error| failed(format!("`{prompt}`: {error}")))?;
        Ok(Prepared { prompt: pattern, answer })
    };
    entries.into_iter().map(prepare).collect()
}

pub(super) fn answer(arguments: &arguments::Answer) -> Exit {
    match perform(arguments) {
        Ok(()) => Exit::Pass,
        Err(what) => {
            complain(&format!("error: {}", line(&what, 400)));
            Exit::InvalidInput
        }
    }
}

fn perform(arguments: &arguments::Answer) -> Result<(), String> {
    let asking = asking(arguments)?;
    let Some(typed) = arguments.words.split_first() else {
        if asking.is_empty() {
            out("nothing is asked\n");
        }
        asking.iter().for_each(|(run, prompts)| list(run, prompts));
        return Ok(());
    };
    let open: Vec<(&RunDir, &Prompt)> = asking.iter().flat_map(|(run, prompts)| prompts.iter().map(move |p| (run, p))).collect();
    let (run, prompt, answer) = match (typed, open.as_slice()) {
        (_, []) => return Err("no prompt is open".to_owned()),
        ((only, []), [(run, prompt)]) => (run, prompt.number, only.clone()),
        ((_, []), _) => {
            return Err("several prompts are open; give the prompt's number before the answer, and `--run`".to_owned());
        }
        ((number, words), _) => {
            let wanted: u32 = number.parse().map_err(|_| format!("`{number}` is not the number of a prompt"))?;
            let fitting: Vec<_> = open.iter().filter(|(_, prompt)| prompt.number == wanted).collect();
            match fitting.as_slice() {
                [(run, prompt)] => (run, prompt.number, words.join(" ")),
                [] => return Err(format!("prompt {wanted} is not open")),
                _ => return Err(format!("several runs ask a prompt {wanted}; choose one with `--run`")),
            }
        }
    };
    let by = arguments.by.clone().unwrap_or_else(user);
    control::send(run.path(), &Request::Answer { prompt, answer, by })?;
    out(&format!("prompt {prompt} of run {} is answered\n", line(run.id().as_str(), 60)));
    Ok(())
}

/// Running runs with their open prompts.
fn asking(arguments: &arguments::Answer) -> Result<Vec<(RunDir, Vec<Prompt>)>, String> {
    let store = arguments.store.store.join("runs");
    let found = match &arguments.run {
        Some(wanted) => vec![find(&store, wanted).map_err(|error| error.to_string())?],
        None => match runs(&store) {
            Ok(found) => {
                let running = found.into_iter().filter(|run| run.state == RunState::Running);
                running.filter_map(|run| RunDir::open(run.directory).ok()).collect()
            }
            Err(error) => return Err(format!("cannot list {}: {error}", store.display())),
        },
    };
    let mut asking = Vec::new();
    for run in found {
        let log = run.read().map_err(|error| error.to_string())?;
        let prompts: Vec<Prompt> = RunView::of(&log.events).open_prompts().cloned().collect();
        if run.state() == RunState::Running && !prompts.is_empty() {
            asking.push((run, prompts));
        }
    }
    Ok(asking)
}

fn list(run: &RunDir, prompts: &[Prompt]) {
    for prompt in prompts {
        let choices = match (prompt.choices.is_empty(), prompt.free) {
            (false, false) => prompt.choices.join(", "),
            (false, true) => format!("{}, or any text", prompt.choices.join(", ")),
            (true, _) => "any text".to_owned(),
        };
        out(&format!(
            "run {}  prompt {}  {}  [{}]\n",
            line(run.id().as_str(), 60),
            prompt.number,
            line(&prompt.text, 400),
            line(&choices, 200)
        ));
        if let Some(picture) = &prompt.picture {
            out(&format!("    picture: {}\n", line(picture, 400)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::prepared;

    #[test]
    fn an_answers_file_is_a_list_of_patterns_and_answers() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("answers.yaml");
        std::fs::write(&file, "- prompt: 'light|lamp'\n  answer: green\n- { prompt: '.', answer: 'done' }\n").unwrap();
        let answers = prepared(&file).unwrap();
        assert!(answers[0].prompt.is_match("Is the lamp on?") && answers[0].answer == "green" && answers.len() == 2);
        for (text, what) in [
            ("- prompt: '('\n  answer: x\n", "regex"),
            ("prompt: x\n", "answers file"),
            ("- { prompt: x, answer: y, z: 1 }\n", "z"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = prepared(&file).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        assert!(prepared(&dir.path().join("none")).is_err());
    }
}
