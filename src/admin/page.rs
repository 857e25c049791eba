//! The status page: the tables of `heteronym status` for a browser.

use crate::status::{Status, tables};

/// The page, which shows itself anew every ten seconds.
pub(super) fn html(status: &Status) -> String {
    let (host, tables) = (escaped(&status.host), escaped(&tables(status)));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"10\">\
         <title>{host}: heteronym</title></head>\n<body><pre>{tables}</pre></body></html>\n"
    )
}

/// Names and errors come from peers: nothing of them is markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    #[test]
    fn what_a_peer_wrote_is_no_markup() {
        let mut status = example(1);
        status.pairs[0].last_error = Some("<script>alert(1)</script>".to_owned());
        let page = html(&status);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
    }
}
