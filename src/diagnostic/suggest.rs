//! "Did you mean".

/// The name in `known` that `wrong` most likely stands for, if one is near: Damerau-Levenshtein distance of at most a third of the
/// longer name, or one contained in the other.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Quadratic in the length: a name of a whole megabyte is not a typing error.
    if wrong.is_empty() || wrong.len() > 100 {
        return None;
    }
    let folded = wrong.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .filter(|name| *name != wrong && name.len() <= 100)
        .filter_map(|name| {
            let distance = strsim::damerau_levenshtein(&folded, &name.to_lowercase());
            let longer = folded.chars().count().max(name.chars().count());
            let contained = folded.len() >= 4 && name.len() >= 4 && (folded.contains(name) || name.contains(folded.as_str()));
            (distance * 3 <= longer || contained).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["console", "supply", "probe", "reset", "power-cycle"];
        assert_eq!(nearest("consol", known), Some("console"));
        assert_eq!(nearest("power_cycle", known), Some("power-cycle"));
        assert_eq!(nearest("SUPPLY", known), Some("supply"));
        assert_eq!(nearest("prboe", known), Some("probe"));
        assert_eq!(nearest("network", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"c".repeat(1000), known), None);
    }
}
