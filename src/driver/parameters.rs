//! What parameters of a rig file say: small questions that several drivers ask.

use std::{str::FromStr, time::Duration};

use crate::{
    channel::link::{LinkError, Parameters},
    units::Span,
};

fn refused(driver: &str, what: String) -> LinkError {
    LinkError::new(format!("open {driver}"), what)
}

/// A parameter that may be missing; one that is empty is.
pub(super) fn value<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A parameter that must be there.
pub(super) fn required<'a>(parameters: &'a Parameters, name: &str, driver: &str) -> Result<&'a str, LinkError> {
    value(parameters, name).ok_or_else(|| refused(driver, format!("the parameter `{name}` is missing")))
}

/// A parameter that is true or false; false if it is missing.
pub(super) fn flag(parameters: &Parameters, name: &str, driver: &str) -> Result<bool, LinkError> {
    match parameters.values.get(name).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(refused(driver, format!("`{name}: {other}` is neither true nor false"))),
    }
}

/// A parameter of some form that may be missing, or what is wrong with it.
pub(super) fn parsed<T: FromStr>(parameters: &Parameters, name: &str, what: &str, driver: &str) -> Result<Option<T>, LinkError> {
    let parse = |text: &str| text.parse().map_err(|_| refused(driver, format!("`{name}: {text}` is not {what}")));
    value(parameters, name).map(parse).transpose()
}

/// A duration that may be missing, between 1 ms and `longest`.
pub(super) fn duration(
    parameters: &Parameters,
    name: &str,
    longest: Duration,
    driver: &str,
) -> Result<Option<Duration>, LinkError> {
    let span = parsed::<Span>(parameters, name, "a duration such as 500ms", driver)?;
    let Some(duration) = span.map(Duration::from) else { return Ok(None) };
    if duration.is_zero() || duration > longest {
        return Err(refused(driver, format!("`{name}` is a duration of at most {}", Span::from(longest))));
    }
    Ok(Some(duration))
}
