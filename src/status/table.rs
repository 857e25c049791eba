//! The status as tables for a terminal.

use std::fmt::Display;

use bytesize::ByteSize;
use comfy_table::{ContentArrangement, Table, presets};

use super::{HostStatus, LocalStatus, PairStatus, Status};

/// Domains of one of our own servers that its row names.
const DOMAINS_SHOWN: usize = 3;

/// `status` for people: a line about the router, then its locals, hosts and pairs.
#[must_use]
pub fn tables(status: &Status) -> String {
    let up = humantime::format_duration(std::time::Duration::from_secs(status.uptime_seconds));
    let parts = [
        format!("{}, heteronym {}, up {up}", status.host, status.version),
        table(&["local", "kind", "state", "domains", "in", "out", "last error"], status.locals.iter().map(local_row)),
        table(
            &["host", "state", "address", "dialled by", "pairs", "in", "out", "unacked", "queued", "last error"],
            status.hosts.iter().map(host_row),
        ),
        table(
            &["local", "remote", "host", "via", "state", "in", "out", "expires", "last error"],
            status.pairs.iter().map(pair_row),
        ),
    ];
    let mut text = parts.join("\n\n");
    let unseen = status.pairs_total.saturating_sub(status.pairs.len());
    if unseen > 0 {
        text.push_str(&format!("\n… and {unseen} more pairs (/api/status?offset=&limit=)"));
    }
    for refused in &status.refused {
        text.push_str(&format!("\nrefused: {}: {}", refused.domain, refused.why));
    }
    text.push('\n');
    text
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header).add_rows(rows);
    table.to_string()
}

fn local_row(local: &LocalStatus) -> Vec<String> {
    let mut domains = local.domains.iter().take(DOMAINS_SHOWN).cloned().collect::<Vec<_>>().join(" ");
    if let Some(more) = local.domains.len().checked_sub(DOMAINS_SHOWN).filter(|more| *more > 0) {
        domains.push_str(&format!(" and {more} more"));
    }
    vec![
        local.name.clone(),
        local.kind.as_str().to_owned(),
        local.state.to_string(),
        domains,
        local.stanzas_in.to_string(),
        local.stanzas_out.to_string(),
        shown(local.last_error.as_ref()),
    ]
}

fn host_row(host: &HostStatus) -> Vec<String> {
    vec![
        host.name.clone(),
        host.state.to_string(),
        shown(host.address.as_ref()),
        shown(host.dialled_by),
        host.pairs_active.to_string(),
        host.stanzas_in.to_string(),
        host.stanzas_out.to_string(),
        host.unacknowledged.to_string(),
        ByteSize(host.queued_bytes).to_string(),
        shown(host.last_error.as_ref()),
    ]
}

fn pair_row(pair: &PairStatus) -> Vec<String> {
    vec![
        pair.local.clone(),
        pair.remote.clone(),
        shown(pair.host.as_ref()),
        pair.via.to_string(),
        pair.state.to_string(),
        pair.stanzas_in.to_string(),
        pair.stanzas_out.to_string(),
        shown(pair.expires_at),
        shown(pair.last_error.as_ref()),
    ]
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn the_tables_name_what_the_status_names() {
        let text = tables(&example(2));
        assert!(text.starts_with("xmpp.my.isp, heteronym 0.1.0, up 1day 1h 1m 1s\n"), "{text}");
        for part in [
            "prosody-1",
            "dial-component",
            "did not answer within 10s",
            "2.0 KiB",
            "d1.pessoa.lit",
            "refused: ft.saramago.lit: it expired",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("more pairs"), "{text}");
    }

    #[test]
    fn pairs_of_other_pages_are_counted() {
        let status = Status { pairs_total: 7, ..example(2) };
        assert!(tables(&status).contains("and 5 more pairs"));
    }
}
