//! From keys to what they mean: one table, which the footer, the help and a person's own file all use.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::Deserialize;

/// A key with what is held down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

impl Key {
    /// The key of an event; `None` for the release of one.
    #[must_use]
    pub fn of(event: &KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        Some(Self { code: event.code, ctrl: event.modifiers.contains(KeyModifiers::CONTROL) })
    }

    /// The character that it types into a text.
    #[must_use]
    pub fn typed(self) -> Option<char> {
        match self.code {
            KeyCode::Char(c) if !self.ctrl => Some(c),
            _ => None,
        }
    }

    /// Its code, whatever is held down with it.
    #[must_use]
    pub fn code(self) -> KeyCode {
        self.code
    }
}

const NAMES: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("space", KeyCode::Char(' ')),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

/// `q`, `ctrl-c`, `enter`, `f1`.
impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ctrl, name) = match text.strip_prefix("ctrl-").filter(|rest| !rest.is_empty()) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut chars = name.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() => KeyCode::Char(c),
            _ => {
                let number = name.strip_prefix('f').and_then(|n| n.parse::<u8>().ok()).filter(|n| (1..=24).contains(n));
                let named = || NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
                number.map(KeyCode::F).or_else(named).ok_or_else(|| {
                    format!("`{}` is not a key; write one character, ctrl-x, f1 to f24, or one of enter, esc, space, tab, backtab, backspace, delete, up, down, left, right, home, end, pageup, pagedown", text.escape_debug())
                })?
            }
        };
        Ok(Self { code, ctrl })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("Ctrl-")?;
        }
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => c.to_uppercase().collect(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::F(n) => format!("F{n}"),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            code => format!("{code:?}"),
        };
        f.write_str(&name)
    }
}

/// Where an action can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// Everywhere.
    Common,
    /// The start screen.
    Start,
    /// Every screen of a run.
    Run,
    /// The consoles.
    Console,
    /// A recorded run.
    Replay,
}

impl Context {
    /// Heading in the help.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Common => "Everywhere",
            Self::Start => "Start",
            Self::Run => "A run",
            Self::Console => "Consoles",
            Self::Replay => "Replay",
        }
    }
}

macro_rules! actions {
    ($($context:ident { $($action:ident $name:literal [$($key:literal),*] $help:literal;)* })*) => {
        /// What a key can mean.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $($(#[doc = $help] $action,)*)*
        }

        /// Every action: where, what it is called in a file of keys, its keys unless told otherwise, what it does.
        pub const ACTIONS: &[(Action, Context, &str, &[&str], &str)] = &[
            $($((Action::$action, Context::$context, $name, &[$($key),*], $help),)*)*
        ];
    };
}

actions! {
    Common {
        Up "up" ["up", "k"] "move up";
        Down "down" ["down", "j"] "move down";
        Left "left" ["left", "h"] "left, fold";
        Right "right" ["right", "l"] "right, unfold";
        PageUp "page-up" ["pageup", "ctrl-b"] "a page up";
        PageDown "page-down" ["pagedown", "ctrl-f"] "a page down";
        First "first" ["home", "g"] "to the first";
        Last "last" ["end", "G"] "to the last, follow";
        Open "open" ["enter"] "open, choose";
        Back "back" ["esc"] "close, back";
        NextTab "next-tab" ["tab"] "next list or tab";
        PreviousTab "previous-tab" ["backtab"] "previous list or tab";
        Help "help" ["?", "f1"] "all keys";
        Stop "stop" ["s", "ctrl-c"] "stop the run";
        Leave "leave" ["q"] "leave";
        Suspend "suspend" ["ctrl-z"] "to the shell; `fg` comes back";
        Redraw "redraw" ["ctrl-l"] "draw everything again";
    }
    Start {
        Examine "examine" ["d"] "examine the bench (doctor)";
        Options "options" ["o"] "what to run, and how";
        Refresh "refresh" ["r"] "look again";
    }
    Run {
        Tab1 "steps" ["1"] "cases and steps";
        Tab2 "consoles" ["2"] "consoles";
        Tab3 "timeline" ["3"] "timeline of all channels";
        Tab4 "bench" ["4"] "bench: every channel";
        Tab5 "measured" ["5"] "measurements";
        Tab6 "cuts" ["6"] "power cuts";
        Tab7 "result" ["7"] "result";
        Search "search" ["/"] "search";
        SearchNext "search-next" ["n"] "next hit";
        SearchPrevious "search-previous" ["N"] "previous hit";
        Answer "answer" ["a"] "answer the prompt";
        Detach "detach" ["d"] "leave the run going";
        Copy "copy" ["y"] "copy the command";
        Replay "replay" ["r"] "play the run again";
        NextChannel "next-channel" ["]"] "next channel";
        PreviousChannel "previous-channel" ["["] "previous channel";
    }
    Console {
        Freeze "freeze" ["z"] "freeze, go on";
        Hex "hex" ["x"] "bytes in hex";
        Times "times" ["c"] "time of each line";
    }
    Replay {
        Play "play" ["space"] "play, pause";
        Faster "faster" ["+", "="] "faster";
        Slower "slower" ["-"] "slower";
        NextEvent "next-event" ["."] "one event on";
        PreviousEvent "previous-event" [","] "one event back";
        NextStep "next-step" ["}"] "next step";
        PreviousStep "previous-step" ["{"] "previous step";
        NextFailure "next-failure" ["f"] "next failure";
        PreviousFailure "previous-failure" ["F"] "previous failure";
        Jump "jump" ["t"] "to a time";
        ToBegin "to-begin" ["<"] "to the beginning";
        ToEnd "to-end" [">"] "to the end";
    }
}

/// Keys and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keymap {
    keys: BTreeMap<Action, Vec<Key>>,
}

impl Default for Keymap {
    fn default() -> Self {
        // The table is tested: every name in it is a key.
        let keys = ACTIONS.iter().map(|(action, _, _, keys, _)| (*action, keys.iter().flat_map(|key| key.parse()).collect()));
        Self { keys: keys.collect() }
    }
}

/// A file of keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: BTreeMap<String, Vec<String>>,
}

impl Keymap {
    /// The usual keys, changed as a YAML text says: `keys: { leave: [x], page-down: [pagedown, space] }`.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn read(text: &str) -> Result<Self, String> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut map = Self::default();
        for (name, keys) in file.keys {
            let Some((action, ..)) = ACTIONS.iter().find(|(_, _, known, ..)| **known == name) else {
                let near = ACTIONS.iter().map(|(_, _, known, ..)| *known).min_by_key(|known| strsim::levenshtein(known, &name));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(format!("there is no action `{}`{hint}", name.escape_debug()));
            };
            let keys: Result<Vec<Key>, String> = keys.iter().map(|key| key.parse()).collect();
            map.keys.insert(*action, keys.map_err(|what| format!("{name}: {what}"))?);
        }
        map.check()?;
        Ok(map)
    }

    /// Two meanings of one key in one place would make one of them unreachable; leaving must stay possible.
    fn check(&self) -> Result<(), String> {
        for (index, (action, context, name, ..)) in ACTIONS.iter().enumerate() {
            for (other, other_context, other_name, ..) in ACTIONS.iter().take(index) {
                if !together(*context, *other_context) {
                    continue;
                }
                if let Some(key) = self.of(*action).iter().find(|key| self.of(*other).contains(key)) {
                    return Err(format!("{key} would mean both `{other_name}` and `{name}`"));
                }
            }
        }
        for (action, name) in [(Action::Leave, "leave"), (Action::Stop, "stop"), (Action::Open, "open"), (Action::Back, "back")] {
            if self.of(action).is_empty() {
                return Err(format!("`{name}` needs a key"));
            }
        }
        Ok(())
    }

    /// The keys of an action.
    #[must_use]
    pub fn of(&self, action: Action) -> &[Key] {
        self.keys.get(&action).map_or(&[], Vec::as_slice)
    }

    /// What a key means in these contexts, the first of them first.
    #[must_use]
    pub fn action(&self, key: Key, contexts: &[Context]) -> Option<Action> {
        let means = |context: &Context| {
            let here = ACTIONS.iter().filter(|(_, place, ..)| place == context);
            here.map(|(action, ..)| *action).find(|action| self.of(*action).contains(&key))
        };
        contexts.iter().find_map(means)
    }

    /// Every action with its keys, by context.
    #[must_use]
    pub fn list(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for (action, context, name, _, help) in ACTIONS {
            if last != Some(*context) {
                text.push_str(&format!("{}{}\n", if last.is_some() { "\n" } else { "" }, context.title()));
                last = Some(*context);
            }
            let keys: Vec<String> = self.of(*action).iter().map(Key::to_string).collect();
            text.push_str(&format!("  {name:<17} {:<12} {help}\n", keys.join(" ")));
        }
        text
    }

    /// Its first key, for a footer.
    #[must_use]
    pub fn first(&self, action: Action) -> String {
        self.of(action).first().map_or_else(|| "-".to_owned(), Key::to_string)
    }
}

/// Whether two contexts can be active at the same time.
fn together(a: Context, b: Context) -> bool {
    a == b || a == Context::Common || b == Context::Common || !(a == Context::Start || b == Context::Start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_key_of_its_own() {
        let map = Keymap::default();
        map.check().unwrap();
        for (action, context, name, keys, help) in ACTIONS {
            assert_eq!(map.of(*action).len(), keys.len(), "{name}: every key of the table can be read");
            assert!(!keys.is_empty() && !help.is_empty());
            for key in map.of(*action) {
                assert_eq!(map.action(*key, &[*context]), Some(*action), "{name} by {key}");
            }
        }
    }

    #[test]
    fn a_file_changes_keys_and_is_refused_where_it_is_wrong() {
        let map = Keymap::read("keys:\n  leave: [x, ctrl-q]\n  hex: [X]\n").unwrap();
        assert_eq!(map.action("x".parse().unwrap(), &[Context::Common]), Some(Action::Leave));
        assert_eq!(map.action("ctrl-q".parse().unwrap(), &[Context::Common]), Some(Action::Leave));
        assert_eq!(map.action("q".parse().unwrap(), &[Context::Common]), None);
        for (text, what) in [
            ("keys: { leav: [x] }", "did you mean `leave`?"),
            ("keys: { leave: [ctrl-] }", "is not a key"),
            ("keys: { leave: [f99] }", "is not a key"),
            ("keys: { leave: [up] }", "would mean both"),
            ("keys: { leave: [x] }", "`leave` and `hex`"),
            ("keys: { leave: [] }", "needs a key"),
            ("keyz: {}", "keyz"),
            ("keys: { leave: [\"\\e\"] }", "is not a key"),
        ] {
            let error = Keymap::read(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
            assert!(!error.contains('\u{1b}'));
        }
    }
}
