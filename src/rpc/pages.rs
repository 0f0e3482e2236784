//! Lists in pages: a token is the last id of the page before, so that it stays valid whatever comes and goes.

use prost::Message;
use tonic::Status;

use super::request;
use crate::backend::Page;

/// How many entries a page holds when the caller sets no limit.
const MAX_ENTRIES: usize = 10_000;
/// How large a page gets, in bytes: clients in Go take no message beyond 4 MiB.
const MAX_BYTES: usize = 3 << 20;

/// The page that a request asks for, with one entry more, which tells whether another page follows.
pub(super) fn page<Id>(
    max_entries: i32,
    starting_token: &str,
    parse: fn(&str) -> Option<Id>,
) -> Result<Page<Id>, Status> {
    let limit = request::maximum(max_entries)?.map_or(MAX_ENTRIES, |max| max.min(MAX_ENTRIES)) + 1;
    let after = match starting_token {
        "" => None,
        token => Some(parse(token).ok_or_else(|| bad_token(token))?),
    };
    Ok(Page { after, limit })
}

fn bad_token(token: &str) -> Status {
    let token: String = token.chars().take(64).collect();
    Status::aborted(format!(
        "starting_token {token:?} is not one of ours; begin the list anew"
    ))
}

/// The entries of a page and the token of the next one, which is empty at the end.
pub(super) fn entries<T, Id: ToString, E: Message>(
    items: &[T],
    page: &Page<Id>,
    entry: impl Fn(&T) -> (E, Id),
) -> (Vec<E>, String) {
    let mut entries = Vec::with_capacity(items.len());
    let mut bytes = 0;
    let mut last = String::new();
    for item in items {
        let (entry, id) = entry(item);
        bytes += entry.encoded_len();
        if entries.len() + 1 == page.limit || (bytes > MAX_BYTES && !entries.is_empty()) {
            return (entries, last);
        }
        entries.push(entry);
        last = id.to_string();
    }
    (entries, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi;

    fn numbers(limit: usize, items: &[usize], size: usize) -> (usize, String) {
        let page = Page::<usize> { after: None, limit };
        let (entries, token) = entries(items, &page, |number| {
            let volume = csi::Volume {
                volume_id: "x".repeat(size),
                ..Default::default()
            };
            (volume, *number)
        });
        (entries.len(), token)
    }

    #[test]
    fn the_token_is_the_last_id_and_the_last_page_has_none() {
        assert_eq!(numbers(3, &[1, 2, 3], 1), (2, "2".to_owned()));
        assert_eq!(numbers(4, &[1, 2, 3], 1), (3, String::new()));
        assert_eq!(numbers(4, &[], 1), (0, String::new()));
    }

    #[test]
    fn a_page_fits_into_one_message() {
        assert_eq!(numbers(10, &[1, 2, 3, 4], 1 << 20), (2, "2".to_owned()));
    }

    #[test]
    fn foreign_tokens_and_negative_limits_are_refused() {
        let parse = |token: &str| token.parse::<usize>().ok();
        assert_eq!(page(0, "7", parse).unwrap().after, Some(7));
        let refused = |max, token| page(max, token, parse).err().map(|it| it.code());
        assert_eq!(refused(0, "x"), Some(tonic::Code::Aborted));
        assert_eq!(refused(-1, ""), Some(tonic::Code::InvalidArgument));
    }
}
