//! What Go's standard library does to strings, where the translation depends on it.

/// `strings.ToLower`: one character for each.
pub(crate) fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars()
        .map(|c| c.to_lowercase().next().unwrap_or(c))
        .collect()
}

/// `strconv.Atoi` and the conversion to 32 bits that cuts.
pub(crate) fn atoi32(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "Go cuts too")]
    let cut = number as i32;
    Some(cut)
}

/// `url.Parse` of a URL that begins with `scheme://`: its path, decoded.
pub(crate) fn url_path(url: &str, scheme: &str) -> Result<String, &'static str> {
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    if url.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err("it holds a control character");
    }
    let rest = url.strip_prefix(scheme).ok_or("it has another scheme")?;
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |it| it);
    check_host(host)?;
    if !user.bytes().all(is_user_byte) {
        return Err("its user is not valid in a URL");
    }
    decode(user)?;
    let path = decode(path)?;
    decode(fragment)?;
    Ok(path)
}

fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let name = match host.find('[') {
        Some(0) => {
            let end = host.rfind(']').ok_or("its host is not valid in a URL")?;
            check_port(&host[end + 1..])?;
            return check_literal(&host[1..end]);
        }
        Some(_) => return Err("its host is not valid in a URL"),
        None => match host.rfind(':') {
            Some(colon) => {
                check_port(&host[colon..])?;
                &host[..colon]
            }
            None => host,
        },
    };
    let allowed = |byte: u8| {
        byte >= 0x80 || byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~%".contains(&byte)
    };
    if !name.bytes().all(allowed) {
        return Err("its host is not valid in a URL");
    }
    let bytes = name.as_bytes();
    let bad_escape = bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'%' && !escape(bytes, at).is_some_and(|value| value >= 0x80 || value == b'%')
    });
    if bad_escape {
        return Err("its host is not valid in a URL");
    }
    Ok(())
}

fn check_port(port: &str) -> Result<(), &'static str> {
    let digits = port.strip_prefix(':').unwrap_or(port);
    let fits =
        port.is_empty() || port.starts_with(':') && digits.bytes().all(|it| it.is_ascii_digit());
    fits.then_some(()).ok_or("its port is not valid in a URL")
}

fn check_literal(literal: &str) -> Result<(), &'static str> {
    let address = literal
        .split_once("%25")
        .map_or(literal, |(address, _)| address);
    let valid = address.parse::<std::net::Ipv6Addr>().is_ok();
    valid.then_some(()).ok_or("its host is not valid in a URL")
}

fn escape(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |index: usize| char::from(*bytes.get(index)?).to_digit(16);
    let value = digit(at + 1)? * 16 + digit(at + 2)?;
    u8::try_from(value).ok()
}

fn decode(text: &str) -> Result<String, &'static str> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            decoded.push(escape(bytes, at).ok_or("it holds an escape that is not valid in a URL")?);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_as_go_cuts_them() {
        assert_eq!(atoi32("4294967297"), Some(1));
        assert_eq!(atoi32("+7"), Some(7));
        assert_eq!(atoi32("-1"), Some(-1));
        for text in ["", "+", "1x", " 1", "99999999999999999999"] {
            assert_eq!(atoi32(text), None, "{text}");
        }
    }

    #[test]
    fn letters_become_one_letter_each() {
        assert_eq!(lower("\u{130}\u{212a}Ab"), "ikab");
    }

    #[test]
    fn paths_of_urls() {
        let path = |url| url_path(url, "aws://");
        assert_eq!(path("aws://us-east-1a/vol-1").as_deref(), Ok("/vol-1"));
        assert_eq!(path("aws:///vol%2D1?x#y").as_deref(), Ok("/vol-1"));
        assert_eq!(path("aws://[::1]:80/v").as_deref(), Ok("/v"));
        for url in [
            "aws://a b/v",
            "aws:///%zz",
            "aws://a:b/v",
            "aws:///\u{1}",
            "aws://[zz]/v",
            "aws://x[::1]/v",
        ] {
            assert!(path(url).is_err(), "{url}");
        }
    }
}
