//! Patterns over a log that is still growing.
//!
//! A device's output arrives in pieces that mean nothing, so the result of a search must not depend on where they were cut: what
//! [`Search`] reports is what a plain search of the *whole* log from the mark on would have found first. Two things make that hard: a
//! match may begin in one piece and end in another, and a match found now may turn out different once more bytes are there (`\S+`
//! grows, a longer alternative starts earlier). Both have one answer, the *horizon* of a pattern: every match that starts before it
//! is known for good with the bytes at hand, and nothing at or after it is. A match is *settled*, and reported, as soon as it starts before
//! the horizons of all patterns of the search, and the next piece is searched from the horizon on, not from the start.
//!
//! The horizon is the furthest of three places:
//! - a pattern whose matches cannot contain a line feed: the start of the last, incomplete line;
//! - a pattern whose matches are at most `n` bytes long: `n - 1` bytes before the end (so a literal is settled when its last byte
//!   is there). With assertions such as `\b` or `$`, four more bytes, the longest thing an assertion looks at;
//! - any pattern: [`WINDOW`] bytes before the end. A match longer than that need not be found, and if found may end differently.
//!
//! So write `[^,\n]*`, not `[^,]*`: a class that contains the line feed lets a match run over any number of lines, and then only silence
//! settles it.
//!
//! A match that is not settled is taken by [`Search::finish`]: when the deadline has come, the channel is lost, or the line has been
//! quiet long enough (the caller decides; see [`super::console`]).

use std::ops::Range;

use regex::bytes::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest match that is found with certainty, in bytes. Bounds what a piece can cost: at most this much is searched again.
pub const WINDOW: usize = 16 * 1024;

/// Bytes kept before the place where a search resumes, for assertions that look back (one UTF-8 character, or CR LF).
const LOOK_BACK: u64 = 8;

/// Bytes an assertion may look ahead: one UTF-8 character.
const LOOK_AHEAD: usize = 4;

/// A compiled pattern and what its matches can look like. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Matcher {
    regex: Regex,
    in_line: bool,
    longest: Option<usize>,
    window: usize,
}

impl Matcher {
    /// Compiles a pattern the way plans and device profiles mean it: `^` and `$` are the ends of a line, CR LF counts as a line end, and `.`
    /// matches neither of the two.
    ///
    /// # Errors
    /// The pattern is not a regular expression or is too large when compiled.
    pub fn compile(pattern: &str) -> Result<Self, regex::Error> {
        let regex = regex::bytes::RegexBuilder::new(pattern).multi_line(true).crlf(true).build()?;
        Ok(Self::analysed(regex, false))
    }

    /// Takes a regex as it is. Options set on its builder cannot be seen from outside, so `.` is supposed to match line feeds: the
    /// result is the same, but a match of `.*` settles later than with [`Matcher::compile`].
    #[must_use]
    pub fn new(regex: Regex) -> Self {
        Self::analysed(regex, true)
    }

    /// A pattern that is exactly this text.
    ///
    /// # Errors
    /// The text is too long to be compiled (megabytes).
    pub fn literal(text: &str) -> Result<Self, regex::Error> {
        let mut matcher = Self::compile(&regex::escape(text))?;
        matcher.window = WINDOW.max(text.len());
        Ok(matcher)
    }

    fn analysed(regex: Regex, dot_is_any: bool) -> Self {
        let mut parser = regex_syntax::ParserBuilder::new()
            .utf8(false)
            .multi_line(true)
            .crlf(!dot_is_any)
            .dot_matches_new_line(dot_is_any)
            .build();
        // What cannot be analysed is treated as able to match anything.
        let (in_line, longest) = match parser.parse(regex.as_str()) {
            Ok(hir) => {
                let ahead = if hir.properties().look_set().is_empty() { 0 } else { LOOK_AHEAD };
                (!may_contain_line_feed(&hir), hir.properties().maximum_len().map(|n| n.saturating_add(ahead)))
            }
            Err(_) => (false, None),
        };
        Self { regex, in_line, longest, window: WINDOW }
    }

    /// The pattern as text.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// The regex.
    #[must_use]
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    #[cfg(test)]
    fn with_window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }
}

/// Whether some match may contain a line feed. The nesting of `hir` is bounded by the parser's nest limit.
fn may_contain_line_feed(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Unicode(class)) => class.ranges().iter().any(|r| r.start() <= '\n' && '\n' <= r.end()),
        HirKind::Class(Class::Bytes(class)) => class.ranges().iter().any(|r| r.start() <= b'\n' && b'\n' <= r.end()),
        HirKind::Repetition(repetition) => may_contain_line_feed(&repetition.sub),
        HirKind::Capture(capture) => may_contain_line_feed(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(may_contain_line_feed),
    }
}

/// What was found: which of the patterns, and where in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Index of the pattern.
    pub which: usize,
    /// First byte and end, as offsets in the stream.
    pub range: Range<u64>,
}

/// A search for the earliest of several patterns at or after a mark.
#[derive(Debug)]
pub struct Search {
    scans: Vec<Scan>,
}

#[derive(Debug)]
struct Scan {
    matcher: Matcher,
    from: u64,
    /// No match starts in `from..resume`.
    resume: u64,
    /// Start of the last line, or `from`.
    line: u64,
    /// How far lines were looked for.
    seen: u64,
    /// First match in what was seen last.
    found: Option<Range<u64>>,
    /// Whether `found` can no longer change.
    settled: bool,
}

impl Search {
    /// A search that sees nothing before `from`: to it, the log begins there.
    #[must_use]
    pub fn new(from: u64, matchers: &[&Matcher]) -> Self {
        let scan = |matcher: &&Matcher| Scan {
            matcher: Matcher::clone(matcher),
            from,
            resume: from,
            line: from,
            seen: from,
            found: None,
            settled: false,
        };
        Self { scans: matchers.iter().map(scan).collect() }
    }

    /// First byte that is still needed: bytes before it may be dropped.
    #[must_use]
    pub fn needs(&self) -> u64 {
        self.scans.iter().map(Scan::needs).min().unwrap_or(u64::MAX)
    }

    /// Looks at the log as it is now: `log` holds its bytes from offset `base` on, up to all there is. `base` must not be
    /// after [`Search::needs`]. Returns the earliest match (of equal ones, that of the first pattern) if it is settled.
    pub fn advance(&mut self, base: u64, log: &[u8]) -> Option<Hit> {
        for scan in &mut self.scans {
            scan.advance(base, log);
        }
        let best = self.best()?;
        let known = |scan: &Scan| scan.settled || best.range.start < scan.resume;
        self.scans.iter().all(known).then_some(best)
    }

    /// The earliest match in what was seen, settled or not: to be asked when no more bytes will count.
    #[must_use]
    pub fn finish(&self) -> Option<Hit> {
        self.best()
    }

    fn best(&self) -> Option<Hit> {
        let hits = self.scans.iter().enumerate().filter_map(|(which, s)| Some(Hit { which, range: s.found.clone()? }));
        hits.min_by_key(|hit| (hit.range.start, hit.which))
    }

    /// Named and matched groups of a hit that this search reported, with `log` as in the call that reported it.
    #[must_use]
    pub fn captures(&self, hit: &Hit, base: u64, log: &[u8]) -> Vec<(String, Vec<u8>)> {
        let Some(scan) = self.scans.get(hit.which) else { return Vec::new() };
        let back = hit.range.start.saturating_sub(LOOK_BACK).max(scan.from).max(base);
        let (Some(hay), Ok(at)) = (log.get((back - base) as usize..), usize::try_from(hit.range.start - back)) else {
            return Vec::new();
        };
        let Some(captures) = scan.matcher.regex.captures_at(hay, at) else { return Vec::new() };
        let names = scan.matcher.regex.capture_names().flatten();
        names.filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_bytes().to_vec()))).collect()
    }
}

impl Scan {
    /// Where a search that resumes has to start so that assertions see what was before.
    fn context(&self) -> u64 {
        self.resume.saturating_sub(LOOK_BACK).max(self.from)
    }

    fn needs(&self) -> u64 {
        let first = self.found.as_ref().map_or(self.resume, |found| found.start.min(self.resume));
        first.saturating_sub(LOOK_BACK).max(self.from)
    }

    fn advance(&mut self, base: u64, log: &[u8]) {
        if self.settled {
            return;
        }
        let end = base + log.len() as u64;
        if end < self.resume {
            return;
        }
        // A caller that dropped bytes too early would make this start late; searching what is there is all that can be done.
        let context = self.context().max(base);
        let hay = &log[(context - base) as usize..];
        let at = (self.resume.max(context) - context) as usize;
        let found = self.matcher.regex.find_at(hay, at);
        self.found = found.map(|m| context + m.start() as u64..context + m.end() as u64);
        self.resume = self.horizon(base, log, end).max(self.resume);
        self.settled = self.found.as_ref().is_some_and(|m| m.start < self.resume);
    }

    fn horizon(&mut self, base: u64, log: &[u8], end: u64) -> u64 {
        let mut horizon = end.saturating_sub(self.matcher.window as u64);
        if let Some(longest) = self.matcher.longest {
            horizon = horizon.max((end + 1).saturating_sub(longest as u64).min(end));
        }
        if self.matcher.in_line {
            let seen = self.seen.max(base);
            let new = log.get((seen - base) as usize..).unwrap_or_default();
            if let Some(last) = memchr::memrchr(b'\n', new) {
                self.line = seen + last as u64 + 1;
            }
            self.seen = end;
            horizon = horizon.max(self.line);
        }
        horizon
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `log` in pieces; the first settled hit, else what is there at the end. Also tells how much had been fed.
    fn feed(matchers: &[&Matcher], mark: usize, log: &[u8], cuts: &[usize]) -> (Option<Hit>, usize) {
        let mut search = Search::new(mark as u64, matchers);
        let mut fed = 0;
        for cut in cuts.iter().copied().chain([log.len()]) {
            fed = cut.clamp(fed, log.len());
            // Everything before what the search says it needs is gone.
            let base = (search.needs() as usize).min(fed);
            if let Some(hit) = search.advance(base as u64, &log[base..fed]) {
                return (Some(hit), fed);
            }
        }
        (search.finish(), fed)
    }

    fn naive(matchers: &[&Matcher], mark: usize, log: &[u8]) -> Option<Hit> {
        let hits = matchers.iter().enumerate().filter_map(|(which, m)| {
            let found = m.regex().find(&log[mark..])?;
            Some(Hit { which, range: (mark + found.start()) as u64..(mark + found.end()) as u64 })
        });
        hits.min_by_key(|hit| (hit.range.start, hit.which))
    }

    const PATTERNS: &[&str] = &[
        "ab",
        "abca|b",
        "a+",
        "a.*b",
        r"(?s)a.*?c",
        r"\S+",
        "^a",
        "b$",
        r"\bab?\b",
        r"c\r?\n",
        r"[^a]{2,5}c",
        r"\Aa",
        "é",
        r"a\s*b",
        r"(?-m)c$",
        "bcabc|a",
        "",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn any_chunking_finds_what_a_search_of_the_whole_log_finds(
            log in proptest::collection::vec(prop_oneof![
                4 => Just(b'a'), 4 => Just(b'b'), 3 => Just(b'c'), 1 => Just(b' '), 1 => Just(b'\n'), 1 => Just(b'\r'),
                1 => Just(0xc3u8), 1 => Just(0xa9u8), 1 => Just(0xffu8),
            ], 0..80),
            mark in 0usize..40,
            mut cuts in proptest::collection::vec(0usize..80, 0..12),
            which in proptest::collection::vec(0..PATTERNS.len(), 1..4),
            plain in any::<bool>(),
        ) {
            cuts.sort_unstable();
            let mark = mark.min(log.len());
            let build = |i: &usize| {
                let pattern = PATTERNS[*i];
                if plain { Matcher::new(Regex::new(pattern).unwrap()) } else { Matcher::compile(pattern).unwrap() }
            };
            let built: Vec<Matcher> = which.iter().map(build).collect();
            let matchers: Vec<&Matcher> = built.iter().collect();
            prop_assert_eq!(feed(&matchers, mark, &log, &cuts).0, naive(&matchers, mark, &log));
        }
    }

    #[test]
    fn a_match_that_can_still_grow_waits_and_one_that_cannot_does_not() {
        let version = Matcher::compile(r"version (?<version>\S+)").unwrap();
        let mut search = Search::new(0, &[&version]);
        assert_eq!(search.advance(0, b"version 1.0"), None, "the rest of the number may be on its way");
        assert_eq!(search.finish().unwrap().range, 0..11, "but at the deadline it is what there is");
        let log = b"version 1.0.7\r\n";
        let hit = search.advance(0, log).unwrap();
        assert_eq!(hit.range, 0..13);
        assert_eq!(search.captures(&hit, 0, log), [("version".to_owned(), b"1.0.7".to_vec())]);

        let prompt = Matcher::literal("PIN: ").unwrap();
        assert_eq!(Search::new(0, &[&prompt]).advance(0, b"PIN: ").unwrap().range, 0..5, "a literal is complete");
    }

    #[test]
    fn a_later_pattern_that_starts_earlier_wins_even_if_it_ends_in_the_next_piece() {
        let ok = Matcher::literal("ok").unwrap();
        let error = Matcher::compile("error .*ok.*").unwrap();
        let mut search = Search::new(0, &[&ok, &error]);
        assert_eq!(search.advance(0, b"error not ok"), None);
        let hit = search.advance(0, b"error not ok today\n").unwrap();
        assert_eq!((hit.which, hit.range), (1, 0..18));
    }

    #[test]
    fn an_endless_line_is_searched_with_bounded_look_back() {
        let matcher = Matcher::compile("x.*y").unwrap().with_window(64);
        let mut search = Search::new(0, &[&matcher]);
        let mut log = Vec::new();
        for _ in 0..100 {
            log.extend_from_slice(&[b'z'; 50]);
            assert_eq!(search.advance(0, &log), None);
            assert!(log.len() as u64 - search.needs() <= 64 + LOOK_BACK);
        }
        log.extend_from_slice(b"x1y\n");
        assert_eq!(search.advance(0, &log).unwrap().range, 5000..5003);
    }

    #[test]
    fn bytes_before_the_mark_do_not_count() {
        let ready = Matcher::compile("^ready").unwrap();
        let (hit, _) = feed(&[&ready], 6, b"ready\nready\n", &[]);
        assert_eq!(hit.unwrap().range, 6..11);
        let (hit, _) = feed(&[&ready], 3, b"ready\nbusy\n", &[5]);
        assert_eq!(hit, None);
    }

    #[test]
    fn literals_of_any_text_compile() {
        let text = "a.b\n[".repeat(9);
        assert_eq!(feed(&[&Matcher::literal(&text).unwrap()], 0, text.as_bytes(), &[7]).0.unwrap().range, 0..45);
    }
}
