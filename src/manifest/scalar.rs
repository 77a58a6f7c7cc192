//! What a scalar stands for in YAML 1.1, as go.yaml.in/yaml/v2 has it (`resolve.go`), which is not all of YAML 1.1: there are no
//! numbers to the base 60, and what looks like a time stays text.

use serde_json::Value;

const TAGS: &str = "tag:yaml.org,2002:";

/// What a scalar stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// What fits 64 bits without a sign alone.
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The value as JSON.
    ///
    /// # Errors
    /// If JSON has none like it.
    pub(super) fn to_json(&self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Int(number) => (*number).into(),
            #[allow(clippy::cast_precision_loss)]
            Self::Unsigned(number) => super::number(*number as f64).unwrap_or(Value::Null),
            Self::Float(number) => {
                super::number(*number).ok_or("a number that is not finite (.inf, .nan) can't be sent")?
            }
            Self::Text(text) => text.clone().into(),
        })
    }

    /// The name that it is as a key of JSON.
    ///
    /// # Errors
    /// If it can't be a key.
    pub(super) fn to_key(&self) -> Result<String, String> {
        Ok(match self {
            Self::Text(text) => text.clone(),
            Self::Bool(flag) => flag.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) if number.is_nan() => ".nan".into(),
            Self::Float(number) if number.is_infinite() => if *number > 0.0 { ".inf" } else { "-.inf" }.into(),
            // With the digits of 32 bits, and an exponent of at least two.
            #[allow(clippy::cast_possible_truncation)]
            Self::Float(number) => short(*number as f32),
            Self::Null => return Err("null can't be a key".into()),
            Self::Unsigned(number) => return Err(format!("{number} can't be a key")),
        })
    }
}

/// As Go formats it by `'g', -1, 32`.
fn short(number: f32) -> String {
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// What the scalar `text` stands for: `tag` is as the parser gives it, `plain` says that it has neither quotes nor a tag.
///
/// # Errors
/// If it is not what its tag says.
pub(super) fn resolve(tag: Option<&str>, text: &str, plain: bool) -> Result<Scalar, String> {
    let Some(tag) = tag else {
        return Ok(if plain { implicit(text) } else { Scalar::Text(text.into()) });
    };
    let kind = tag.strip_prefix(TAGS).unwrap_or_default();
    let found = match kind {
        "str" => return Ok(Scalar::Text(text.into())),
        "binary" => return binary(text),
        "bool" | "int" | "float" | "null" => implicit(text),
        "timestamp" if looks_like_a_time(text) => return Ok(Scalar::Text(text.into())),
        "timestamp" => implicit(text),
        _ => return Ok(Scalar::Text(text.into())),
    };
    match (kind, found) {
        ("bool", found @ Scalar::Bool(_))
        | ("int", found @ (Scalar::Int(_) | Scalar::Unsigned(_)))
        | ("float", found @ Scalar::Float(_))
        | ("null", found @ Scalar::Null) => Ok(found),
        #[allow(clippy::cast_precision_loss)]
        ("float", Scalar::Int(number)) => Ok(Scalar::Float(number as f64)),
        _ => Err(format!("cannot decode `{}` as !!{kind}", text.chars().take(40).collect::<String>())),
    }
}

fn implicit(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' if is_float(text) => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| is_float(&digits).then(|| float(&digits)).flatten())
        }
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.into()))
}

/// With Go's prefixes: `0x`, `0o`, `0b`, and a zero alone for the base 8.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // Rust would take another sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let number = u64::from_str_radix(digits, base).ok()?;
    let signed = text.starts_with(['-', '+']);
    match (i128::from(number), negative) {
        (number, true) => i64::try_from(-number).ok().map(Scalar::Int),
        (whole, false) => match i64::try_from(whole) {
            Ok(whole) => Some(Scalar::Int(whole)),
            Err(_) => (!signed).then_some(Scalar::Unsigned(number)),
        },
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_mantissa = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let is_exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    is_mantissa && is_exponent
}

/// None if it is too large: it stays text.
fn float(text: &str) -> Option<Scalar> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Scalar::Float)
}

fn binary(text: &str) -> Result<Scalar, String> {
    use base64::Engine as _;
    let text: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    let bytes = bytes.map_err(|_| "a value of !!binary is no base64")?;
    Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A date, or a date and a time: it is but told from what is none.
fn looks_like_a_time(text: &str) -> bool {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "0:0:0"));
    let numbers = |text: &str, most: usize| {
        let parts: Vec<&str> = text.split(['-', ':']).collect();
        parts.len() == most && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    date.len() >= 8 && date.as_bytes()[4] == b'-' && numbers(date, 3) && time.contains(':')
}
