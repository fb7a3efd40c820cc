//! Amounts of memory as people type them: `4096`, `512K`, `64KiB`, `1.5M`.

/// Reads an amount in bytes. Units are powers of 1024, with or without `iB` or `B`, in either case.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit != "i" && unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("unknown unit {:?}: use K, M or G (powers of 1024)", text[split..].trim())),
    };
    let bad = || "write a number of bytes such as 4096, 512K or 1.5M".to_owned();
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1 << shift).ok_or_else(bad)?,
        Err(_) => {
            let fraction: f64 = number.parse().map_err(|_| bad())?;
            let bytes = (fraction * (1_u64 << shift) as f64).round();
            if bytes < 0.0 || bytes >= u64::MAX as f64 {
                return Err(bad());
            }
            bytes as u64
        }
    };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn usual_spellings() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512K", 524_288),
            ("512k", 524_288),
            ("64KiB", 65_536),
            ("64KB", 65_536),
            ("1M", 1 << 20),
            ("1.5M", 3 << 19),
            ("2 GiB", 2 << 30),
            ("1T", 1 << 40),
            ("100B", 100),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "1X", "-1", "1iB", "1.2.3", "99999999999T", "1e3", "nan"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
