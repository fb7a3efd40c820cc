//! `--param name=value`: values for `$name` in queries.

use std::collections::BTreeMap;

use super::split::Scanner;
use crate::error::{Error, Result};

/// Values by name.
#[derive(Debug, Default)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads `name=value` pairs. A value that is a number stands for that number, any other for its text.
    pub(super) fn parse(pairs: &[String]) -> Result<Self> {
        let mut params = BTreeMap::new();
        for pair in pairs {
            let Some((name, value)) = pair.split_once('=').filter(|(name, _)| is_name(name)) else {
                return Err(Error::usage(format!("--param {pair}: write name=value")));
            };
            params.insert(name.to_owned(), literal(value));
        }
        Ok(Self(params))
    }

    /// Puts the values in place of `$name` outside quotes and comments.
    pub(super) fn apply(&self, sql: &str) -> Result<String> {
        let mut result = String::with_capacity(sql.len());
        let mut copied = 0;
        let mut scanner = Scanner::new(sql);
        while let Some((at, byte)) = scanner.next_code() {
            if byte != b'$' || at < copied {
                continue;
            }
            let name: String = sql[at + 1..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.is_empty() {
                continue;
            }
            let Some(value) = self.0.get(&name) else {
                return Err(Error::new(format!("the query uses ${name}, which has no value"))
                    .hint(format!("give it one with --param {name}=VALUE")));
            };
            result += &sql[copied..at];
            result += value;
            copied = at + 1 + name.len();
        }
        result += &sql[copied..];
        Ok(result)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn literal(value: &str) -> String {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && value.parse::<f64>().is_ok_and(f64::is_finite);
    match number {
        // Two minus signs in a row would begin a comment.
        true if value.starts_with('-') => format!("({value})"),
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(sql: &str, pairs: &[&str]) -> Result<String> {
        Params::parse(&pairs.iter().map(|&p| p.to_owned()).collect::<Vec<_>>())?.apply(sql)
    }

    #[test]
    fn numbers_stay_numbers_and_text_is_quoted() {
        assert_eq!(
            apply("select $a, '$a' -- $a\n, $b", &["a=5", "b=it's"]).unwrap(),
            "select 5, '$a' -- $a\n, 'it''s'"
        );
        assert_eq!(apply("select 1-$n", &["n=-2.5"]).unwrap(), "select 1-(-2.5)");
        assert_eq!(apply("select $x", &["x=1; drop"]).unwrap(), "select '1; drop'");
        assert_eq!(apply("select $x", &["x=a=b"]).unwrap(), "select 'a=b'");
        assert_eq!(apply("select $x", &["x=0x1f"]).unwrap(), "select '0x1f'");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(apply("select $a", &[]).unwrap_err().to_string().contains("$a"));
        assert!(apply("select 1", &["novalue"]).is_err());
    }
}
