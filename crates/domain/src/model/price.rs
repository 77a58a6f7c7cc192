//! What tokens cost.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Tokens;
use crate::id::sha256_hex;

const NANOS: f64 = 1e9;

/// Dollars, to the billionth. Written as a number of dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

crate::leaf!(Usd);

impl Usd {
    /// None.
    pub const ZERO: Self = Self(0);
    /// More than anybody has.
    pub const MAX: Self = Self(u64::MAX);

    /// Billionths of a dollar.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The same.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Dollars; `None` if that is no amount.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let nanos = (dollars * NANOS).round();
        (dollars >= 0.0 && nanos < u64::MAX as f64).then_some(Self(nanos as u64))
    }

    /// Dollars, about.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / NANOS
    }

    /// What is left of it; nothing where that is less.
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let cents = text.len() - 7;
        let (whole, rest) = text.split_at(cents);
        write!(f, "${whole}{}", rest.trim_end_matches('0'))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Self::from_dollars(dollars)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{dollars} is no amount of dollars")))
    }
}

/// Dollars for a million tokens, as providers' lists have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What is sent.
    pub input: Usd,
    /// Of that, what the provider had in its cache; as input if it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Usd>,
    /// Of that, what it wrote to its cache; as input if it is not told. Where there are several prices, the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Usd>,
    /// What comes back, thoughts as well.
    pub output: Usd,
}

impl Price {
    /// What these cost, rounded up.
    pub fn of(&self, tokens: &Tokens) -> Usd {
        let Tokens { input, cached, cache_written, output, reasoning: _ } = *tokens;
        let fresh = input.saturating_sub(cached.saturating_add(cache_written));
        let parts = [
            (fresh, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (cache_written, self.cache_write.unwrap_or(self.input)),
            (output, self.output),
        ];
        let each = parts.iter().map(|(count, price)| u128::from(*count) * u128::from(price.nanos()));
        let sum = each.fold(0, u128::saturating_add);
        Usd(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// Names it: the SHA-256 of its JSON, in hex.
    pub fn sha256(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        sha256_hex(&json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let json = r#"{"input": 3, "cached_input": 0.3, "cache_write": 3.75, "output": 15}"#;
        let price: Price = serde_json::from_str(json).unwrap();
        let tokens = Tokens { input: 1000, cached: 200, cache_written: 100, output: 10, reasoning: 5 };
        // 700 at 3, 200 at 0.3, 100 at 3.75 and 10 at 15 for a million.
        assert_eq!(price.of(&tokens), usd(0.002_100 + 0.000_060 + 0.000_375 + 0.000_150));
        let plain = Price { cached_input: None, cache_write: None, ..price };
        assert_eq!(plain.of(&tokens), usd(0.003 + 0.000_15));
        let one = Price { input: usd(0.000_1), output: Usd::ZERO, ..plain };
        assert_eq!(one.of(&Tokens { input: 1, ..Tokens::default() }), Usd::from_nanos(1), "rounded up");
        let all = Tokens { input: u64::MAX, cached: u64::MAX, cache_written: u64::MAX, output: u64::MAX, reasoning: 0 };
        assert_eq!(Price { output: Usd::MAX, ..price }.of(&all), Usd::MAX);
        assert_ne!(price.sha256(), plain.sha256());
    }

    #[test]
    fn dollars_are_read_and_written() {
        assert_eq!(serde_json::from_str::<Usd>("0.1").unwrap(), Usd::from_nanos(100_000_000));
        assert_eq!(serde_json::to_string(&usd(0.1)).unwrap(), "0.1");
        for wrong in ["-1", "1e30", "\"1\""] {
            assert!(serde_json::from_str::<Usd>(wrong).is_err(), "{wrong}");
        }
        let shown = [usd(0.0), usd(1.5), usd(0.000_012), usd(12.34)].map(|usd| usd.to_string());
        assert_eq!(shown, ["$0.00", "$1.50", "$0.000012", "$12.34"]);
    }
}
