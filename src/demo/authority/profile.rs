//! What the certificates say.

use std::time::Duration;

use heteronym_net::clock::Now;
use heteronym_net::random;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use super::{ExtendedKeyUsage, KeyUsage, Request};

/// How far back certificates begin, in seconds: clocks differ.
const BACKDATED: u64 = 3600;
/// Life of a leaf, in seconds: 90 days.
const LEAF_LIFE: u64 = 90 * 24 * 3600;
/// Life of root and intermediate, in seconds: ten years.
const AUTHORITY_LIFE: u64 = 10 * 365 * 24 * 3600;
/// id-on-xmppAddr (RFC 6120 §13.7.1.4).
const XMPP_ADDRESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];
/// The longest common name (RFC 5280, ub-common-name).
const COMMON_NAME: usize = 64;

/// A certificate that signs others.
pub(super) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = Now::read().unix;
    set_common(&mut params, name, (now - BACKDATED, now + AUTHORITY_LIFE));
    params
}

/// What `request` asks for.
pub(super) fn leaf(request: &Request) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(request.names.clone())?;
    let address = |domain: &String| SanType::OtherName((XMPP_ADDRESS.to_vec(), domain.as_str().into()));
    params.subject_alt_names.extend(request.xmpp_addresses.iter().map(address));
    params.key_usages = usages(request.key_usage);
    params.extended_key_usages = purposes(request.extended);
    let now = Now::read().unix;
    let not_before = request.not_before.unwrap_or(now - BACKDATED);
    let not_after = request.not_after.unwrap_or(now + LEAF_LIFE);
    let name = request.names.first().map_or("", String::as_str);
    set_common(&mut params, name, (not_before, not_after));
    Ok(params)
}

fn set_common(params: &mut CertificateParams, name: &str, (not_before, not_after): (u64, u64)) {
    params.distinguished_name = DistinguishedName::new();
    if name.len() <= COMMON_NAME {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    // rcgen would make it of the key, and one key may have several certificates.
    params.serial_number = Some(SerialNumber::from(random::bytes::<16>().to_vec()));
    params.use_authority_key_identifier_extension = true;
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before);
    params.not_after = epoch + Duration::from_secs(not_after);
}

fn usages(usage: KeyUsage) -> Vec<KeyUsagePurpose> {
    match usage {
        KeyUsage::Absent => Vec::new(),
        KeyUsage::Signature => vec![KeyUsagePurpose::DigitalSignature],
        KeyUsage::SignatureAndEncipherment => {
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment]
        }
        KeyUsage::Encipherment => vec![KeyUsagePurpose::KeyEncipherment],
    }
}

fn purposes(extended: ExtendedKeyUsage) -> Vec<ExtendedKeyUsagePurpose> {
    match extended {
        ExtendedKeyUsage::Absent => Vec::new(),
        ExtendedKeyUsage::ServerAuth => vec![ExtendedKeyUsagePurpose::ServerAuth],
        ExtendedKeyUsage::ClientAuth => vec![ExtendedKeyUsagePurpose::ClientAuth],
        ExtendedKeyUsage::ServerAndClientAuth => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
    }
}
