//! What the tests share: a certificate authority of a few lines, and a name server.

pub(crate) mod name_server;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SignatureAlgorithm,
};

use crate::certificate::KeyType;
use crate::keys::FileKey;

/// id-on-xmppAddr (RFC 6120 §13.7.1.4), in DER.
pub(crate) const XMPP_ADDRESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x05];
/// id-on-dnsSRV (RFC 4985), in DER.
pub(crate) const SRV_NAME: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x07];

/// A root and the intermediate that signs the leaves.
pub(crate) struct Authority {
    pub(crate) root_pem: String,
    intermediate_der: Vec<u8>,
    intermediate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf is to look like.
pub(crate) struct Leaf {
    names: Vec<String>,
    key: Option<KeyPair>,
    usages: Vec<KeyUsagePurpose>,
    purposes: Vec<ExtendedKeyUsagePurpose>,
    dates: Option<(i64, i64)>,
    other_names: Vec<u8>,
    is_authority: bool,
}

/// An issued certificate.
pub(crate) struct Issued {
    /// DER: leaf, intermediate.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
}

impl Issued {
    pub(crate) fn key(&self) -> FileKey {
        FileKey::from_pem(self.chain_pem.as_bytes(), self.key_pem.as_bytes()).unwrap()
    }
}

impl Leaf {
    /// Public CAs' profile of today: serverAuth and nothing else.
    pub(crate) fn new(name: &str) -> Self {
        let purposes = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let names = vec![name.to_owned()];
        Self {
            names,
            key: None,
            usages: Vec::new(),
            purposes,
            dates: None,
            other_names: Vec::new(),
            is_authority: false,
        }
    }

    /// What `openssl req -x509` makes: one that may sign others.
    pub(crate) fn of_authority(mut self) -> Self {
        self.is_authority = true;
        self
    }

    /// Signed with its own key: DER and PEM.
    pub(crate) fn self_signed(&self) -> (Vec<u8>, String) {
        let certificate = self.params().self_signed(&KeyPair::generate().unwrap()).unwrap();
        (certificate.der().to_vec(), certificate.pem())
    }

    /// Without any dNSName.
    pub(crate) fn nameless() -> Self {
        Self { names: Vec::new(), ..Self::new("") }
    }

    /// An otherName of this OID with a string of this tag; rcgen writes UTF-8 ones only.
    pub(crate) fn with_other_name(mut self, oid: &[u8], tag: u8, text: &str) -> Self {
        let value = tlv(0xa0, &tlv(tag, text.as_bytes()));
        self.other_names.extend(tlv(0xa0, &[tlv(0x06, oid), value].concat()));
        self
    }

    pub(crate) fn and_name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    pub(crate) fn with_key(mut self, key: KeyPair) -> Self {
        self.key = Some(key);
        self
    }

    pub(crate) fn with_usage(mut self, usage: KeyUsagePurpose) -> Self {
        self.usages.push(usage);
        self
    }

    pub(crate) fn for_purposes(mut self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        self.purposes = purposes.to_vec();
        self
    }

    pub(crate) fn valid(mut self, not_before: i64, not_after: i64) -> Self {
        self.dates = Some((not_before, not_after));
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.key_usages = self.usages.clone();
        params.extended_key_usages = self.purposes.clone();
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if !self.other_names.is_empty() {
            params.subject_alt_names.clear();
            params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], self.alternative_names()));
        }
        if let Some((not_before, not_after)) = self.dates {
            let epoch = rcgen::date_time_ymd(1970, 1, 1);
            params.not_before = epoch + std::time::Duration::from_secs(not_before.try_into().unwrap());
            params.not_after = epoch + std::time::Duration::from_secs(not_after.try_into().unwrap());
        }
        params
    }

    /// subjectAltName (RFC 5280 §4.2.1.6) with all names.
    fn alternative_names(&self) -> Vec<u8> {
        let dns = self.names.iter().flat_map(|name| tlv(0x82, name.as_bytes()));
        tlv(0x30, &dns.chain(self.other_names.iter().copied()).collect::<Vec<_>>())
    }
}

/// DER of fewer than 128 bytes.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).ok().filter(|length| *length < 128);
    [&[tag, length.expect("a short value")], value].concat()
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("Test Root")
    }

    pub(crate) fn named(root: &str) -> Self {
        Self::with(root, ca("Test Intermediate"))
    }

    /// An intermediate that may sign names below this domain only.
    pub(crate) fn constrained(domain: &str) -> Self {
        let mut params = ca("Test Intermediate");
        let permitted_subtrees = vec![GeneralSubtree::DnsName(domain.to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        Self::with("Test Root", params)
    }

    fn with(root: &str, params: CertificateParams) -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root_params = ca(root);
        let root_pem = root_params.self_signed(&root_key).unwrap().pem();
        let root = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().unwrap();
        let intermediate = params.signed_by(&key, &root).unwrap();
        Self {
            root_pem,
            intermediate_der: intermediate.der().to_vec(),
            intermediate_pem: intermediate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Issued {
        let made = leaf.key.is_none().then(|| KeyPair::generate().unwrap());
        let key = leaf.key.as_ref().or(made.as_ref()).unwrap();
        let certificate = leaf.params().signed_by(key, &self.issuer).unwrap();
        Issued {
            chain: vec![certificate.der().to_vec(), self.intermediate_der.clone()],
            chain_pem: certificate.pem() + &self.intermediate_pem,
            key_pem: key.serialize_pem(),
        }
    }

    /// The DER of a leaf that carries an RSA key of so many bits that nobody has.
    pub(crate) fn issue_rsa(&self, name: &str, bits: usize) -> Vec<u8> {
        Leaf::new(name).params().signed_by(&RsaPublic(rsa_public(bits / 8)), &self.issuer).unwrap().der().to_vec()
    }
}

/// One key of each kind; RSA ones take a moment to make.
pub(crate) fn keys() -> [(KeyType, KeyPair); 4] {
    [
        (KeyType::Rsa { bits: 2048 }, rsa_2048()),
        (KeyType::P256, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
        (KeyType::P384, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()),
        (KeyType::Ed25519, KeyPair::generate_for(&PKCS_ED25519).unwrap()),
    ]
}

pub(crate) fn rsa_2048() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

struct RsaPublic(Vec<u8>);

impl PublicKeyData for RsaPublic {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// `RSAPublicKey` with an odd modulus of so many bytes and the exponent 65537.
fn rsa_public(bytes: usize) -> Vec<u8> {
    let length = |bytes: usize| match u8::try_from(bytes) {
        Ok(short) => vec![0x81, short],
        Err(_) => [&[0x82], &u16::try_from(bytes).unwrap().to_be_bytes()[..]].concat(),
    };
    let modulus = [vec![0x02], length(bytes + 1), vec![0x00], vec![0xa5; bytes]].concat();
    let numbers = [modulus, vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    [vec![0x30], length(numbers.len()), numbers].concat()
}
