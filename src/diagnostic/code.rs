//! The stable codes, in one table.

use std::fmt::Write as _;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The files can be used.
    Warning,
    /// The files cannot be used.
    Error,
}

impl Severity {
    /// Lower-case word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! codes {
    ($($id:literal $variant:ident $name:literal $severity:ident $what:literal;)*) => {
        /// What kind of problem. Ids are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $what] $variant,)*
        }

        impl Code {
            /// Every code, by id.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// `P0102`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// `unknown-key`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line: what it means and what to do.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    "P0001" CannotRead "cannot-read" Error "The file cannot be read: it is missing, a directory, or not permitted.";
    "P0002" TooLarge "too-large" Error "The file is larger than what is accepted (1 MiB for YAML, 16 MiB for images).";
    "P0003" NotUtf8 "not-utf8" Error "The file is not UTF-8 text; the place is that of the first wrong byte.";
    "P0004" Syntax "syntax" Error "The file is not YAML; a parser stops at the first such place.";
    "P0005" TooComplex "too-complex" Error "The file nests too deeply, or its aliases multiply it beyond reason.";
    "P0006" EmptyFile "empty-file" Error "The file has no content.";
    "P0007" ForbiddenCharacter "forbidden-character" Error "The file holds a control character, which YAML forbids.";

    "P0101" WrongSchema "wrong-schema" Error "The first key must be `schema:` with the kind of file and a version that is known: `rig/1`, `device/1`, `testplan/1`.";
    "P0102" UnknownKey "unknown-key" Error "The map has no such key; all maps are closed, so a misspelt key is never ignored.";
    "P0103" MissingKey "missing-key" Error "A key that the map needs is not there.";
    "P0104" WrongType "wrong-type" Error "Another type of value is needed here: text, a list, or a map.";
    "P0105" DuplicateKey "duplicate-key" Error "The same key stands twice in one map; YAML forbids it and readers disagree about which one counts.";
    "P0106" OneKeyMap "one-key-map" Error "A map with exactly one key is needed here, for instance one step per list item.";
    "P0107" UnknownStep "unknown-step" Error "There is no such step.";
    "P0108" UnknownWord "unknown-word" Error "Only certain words are accepted here.";
    "P0109" KeyConflict "key-conflict" Error "Of these keys exactly one (or at most one) may be given.";
    "P0110" BadName "bad-name" Error "Names start with a small letter and hold small letters, digits and dashes, 64 characters at most.";
    "P0111" OutOfRange "out-of-range" Error "The number or duration is outside the range that makes sense here.";
    "P0112" BadQuantity "bad-quantity" Error "Not a quantity with its unit (`500ms`, `10s`), or not a number where one is needed.";
    "P0113" BadBytes "bad-bytes" Error "Bytes are written as pairs of hex digits: `'de ad be ef'`.";
    "P0114" BadPattern "bad-pattern" Error "The regular expression does not compile, or is too large.";
    "P0115" BadTemplate "bad-template" Error "A placeholder is not closed, empty, or not of a known form.";
    "P0116" BadReasonCode "bad-reason-code" Error "Reason codes hold capitals, digits and dashes, start with a capital and do not use a word of the bench itself.";
    "P0117" DuplicateName "duplicate-name" Error "The same name is given twice in one list.";
    "P0118" EmptyList "empty-list" Error "The list must not be empty.";

    "P0201" UnknownDriver "unknown-driver" Error "There is no driver of this name.";
    "P0202" UnknownParameter "unknown-parameter" Error "The driver or procedure has no such parameter.";
    "P0203" MissingParameter "missing-parameter" Error "The driver or procedure needs a parameter that is not given.";
    "P0204" WrongKind "wrong-kind" Error "The channel is of another kind than the one needed here.";
    "P0205" UnknownChannel "unknown-channel" Error "There is no channel of this name.";
    "P0206" BadImage "bad-image" Error "The image file cannot be read, or is empty.";
    "P0207" DigestMismatch "digest-mismatch" Error "The image's SHA-256 is not the one given beside it.";
    "P0208" OutsideImage "outside-image" Error "The region or the changed bytes do not lie inside the image.";
    "P0209" UnknownImage "unknown-image" Error "There is no image of this name.";
    "P0210" UnknownProcedure "unknown-procedure" Error "The device profile has no procedure of this name.";
    "P0211" ProcedureCycle "procedure-cycle" Error "A procedure runs itself, directly or through others.";
    "P0212" MissingCapture "missing-capture" Error "No pattern captures a value that is promised here; write `(?<name>...)`.";
    "P0213" StepNotAllowed "step-not-allowed" Error "This step cannot be used here.";
    "P0214" ImagesOverlap "images-overlap" Error "Two images that are written together occupy the same addresses.";
    "P0215" NotSafe "not-safe" Error "A supply or button of the rig is left out of its safe state.";
    "P0230" GoldenElsewhere "golden-elsewhere" Error "The steps that are to prove a channel on a golden device do not use it.";

    "P0301" UnknownTestCase "unknown-test-case" Error "TS 103 701 has no such test case.";
    "P0302" NotRequired "not-required" Error "A step uses a channel that neither the plan nor the case lists under `requires`.";
    "P0303" UndefinedName "undefined-name" Error "Nothing before this place gives a value of this name.";
    "P0304" UnknownDeclared "unknown-declared" Error "The device profile declares no such value.";
    "P0305" WrongUnit "wrong-unit" Error "The declared value is not of the kind needed here, for instance not a duration.";
    "P0306" TimeoutNesting "timeout-nesting" Error "A step may take longer than its case, or a case longer than the plan.";
    "P0307" NotDestructive "not-destructive" Error "Erasing the whole device needs `destructive: true` beside it.";
    "P0308" CannotRefuse "cannot-refuse" Error "`expect: refused` makes no sense for a procedure without a `refused` pattern.";
    "P0309" NoInterruption "no-interruption" Error "A power-cut search needs `interruption:` in the device profile.";
    "P0310" ChangesNothing "changes-nothing" Error "The altered image is equal to the genuine one.";
    "P0311" NoAddress "no-address" Error "The image has no address, so a probe cannot write it.";
    "P0312" NoVersion "no-version" Error "The image has no version in the device profile, but one is needed here.";
    "P0313" UnusedImage "unused-image" Warning "No step uses this altered image.";
    "P0320" NotSacrificial "not-sacrificial" Error "Erasing the whole device needs `sacrificial: true` in the rig.";
    "P0330" UnclearRow "unclear-row" Error "A row of a proof matrix does not say what has to come of it, or says two things.";
}

/// Text of `docs/diagnostics.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Diagnostics\n\nWhat `hilbench check` and `hilbench run` say about rig, device profile and plan files. Codes are stable and never reused.\n\
         This file is generated from the table in `src/diagnostic/code.rs`; a test compares the two.\n",
    );
    for (prefix, title) in [("P00", "Reading"), ("P01", "Form"), ("P02", "Rig and device profile"), ("P03", "Plan and binding")] {
        let _ = write!(out, "\n## {title}\n\n| code | name | severity | meaning |\n|---|---|---|---|\n");
        for code in Code::ALL.iter().filter(|code| code.id().starts_with(prefix)) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                code.id(),
                code.name(),
                code.severity().word(),
                code.explanation().replace('|', "\\|")
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Code, reference};

    #[test]
    fn ids_and_names_are_unique_and_in_order() {
        let ids: Vec<_> = Code::ALL.iter().map(|code| code.id()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_reference_names_every_code() {
        let text = reference();
        for code in Code::ALL {
            assert!(text.contains(&format!("| {} | {} |", code.id(), code.name())), "{code:?}");
        }
    }
}
