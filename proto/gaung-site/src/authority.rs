//! The site's own certificates, and the key that issues leaves.

use std::{fmt, path::Path, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber, date_time_ymd,
};
use ring::digest;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::{
    chain::{self, LEAF_VALIDITY, SiteChain},
    error::AuthorityError,
    expected_site::ExpectedSite,
    key::{ServiceKey, ServicePublicKey},
    leaf::Leaf,
    local_name::{self, LocalName},
    private_files,
    role::Role,
    site_id::SiteId,
};

/// Time after which a service's leaf is renewed.
pub const RENEWAL: Duration = Duration::from_secs(DAY);

const DAY: u64 = 24 * 60 * 60;
/// Last second of 2099, up to which root and issuer are valid, from 1970 on: they are made by a clock that may be wrong.
const LAST_SECOND: u64 = 4_102_444_799;

const ROOT_FILE: &str = "root.der";
const ISSUER_FILE: &str = "issuer.der";
const ISSUER_KEY_FILE: &str = "issuer.key";

/// A site's root and issuer, with the issuer's key.
pub struct SiteAuthority {
    id: SiteId,
    root: CertificateDer<'static>,
    issuer: CertificateDer<'static>,
    signer: Issuer<'static, KeyPair>,
}

impl SiteAuthority {
    /// Makes a new site. The root's key is forgotten when this returns, so nothing but the issuer is ever signed by it.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`] if the system's random generator fails.
    pub fn create() -> Result<Self, AuthorityError> {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let id = SiteId::of_root_key(&root_key.subject_public_key_info());
        let root = CertifiedIssuer::self_signed(authority_params(id, "root", 1), root_key)?;
        let issuer_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = issuer_params(id).signed_by(&issuer_key, &root)?;
        let signer = Issuer::new(issuer_params(id), issuer_key);
        Ok(Self { id, root: root.der().clone(), issuer: issuer.der().clone(), signer })
    }

    /// Reads the site that `folder` holds, or makes one there, readable by its owner alone. Processes that start at the same
    /// moment get the same site.
    ///
    /// # Errors
    /// [`AuthorityError`]. A folder that holds something else is left as it is.
    pub fn load_or_create(folder: &Path) -> Result<Self, AuthorityError> {
        if !folder.exists() {
            let new = Self::create()?;
            let key = new.signer.key().serialized_der();
            let files: [(&str, &[u8]); 3] =
                [(ROOT_FILE, &new.root), (ISSUER_FILE, &new.issuer), (ISSUER_KEY_FILE, key)];
            private_files::create_folder(folder, &files)?;
        }
        Self::load(folder)
    }

    fn load(folder: &Path) -> Result<Self, AuthorityError> {
        let read = |name| private_files::read(&folder.join(name));
        let root = CertificateDer::from(read(ROOT_FILE)?);
        let issuer = CertificateDer::from(read(ISSUER_FILE)?);
        let key = ServiceKey::from_pkcs8(&read(ISSUER_KEY_FILE)?)?;
        let id = chain::site_of(&root).map_err(AuthorityError::Damaged)?;
        let loaded = Self { id, root, issuer, signer: Issuer::new(issuer_params(id), key.0) };
        loaded.check()?;
        Ok(loaded)
    }

    /// Checks that root, issuer and key belong together, by a leaf that is not kept.
    fn check(&self) -> Result<(), AuthorityError> {
        let now = UnixTime::since_unix_epoch(Duration::ZERO);
        let chain = self.issue(Role::Registry, &ServiceKey::generate()?.public(), &[], now)?;
        chain.verify(&ExpectedSite::Any, Role::Registry, now).map_err(AuthorityError::Damaged)
    }

    /// Returns the site's identity.
    #[must_use]
    pub const fn id(&self) -> SiteId {
        self.id
    }

    /// Returns the root in DER, which people may install in browsers.
    #[must_use]
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Issues a chain to `role` for the holder of `key`, valid 400 days before and after `now`; also under `names`, for browsers.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`] if the system's random generator fails.
    pub fn issue(
        &self,
        role: Role,
        key: &ServicePublicKey,
        names: &[LocalName],
        now: UnixTime,
    ) -> Result<SiteChain, AuthorityError> {
        let leaf = leaf_params(role, key, names, now)?.signed_by(key, &self.signer)?;
        Ok(SiteChain([leaf.der().clone(), self.issuer.clone(), self.root.clone()]))
    }

    /// Makes a key and issues a leaf to it, for a service in this process.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`] if the system's random generator fails.
    pub fn leaf(&self, role: Role, names: &[LocalName], now: UnixTime) -> Result<Leaf, AuthorityError> {
        let key = ServiceKey::generate()?;
        let chain = self.issue(role, &key.public(), names, now)?;
        Ok(Leaf::new(&chain, &key)?)
    }
}

impl fmt::Debug for SiteAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteAuthority({})", self.id)
    }
}

fn issuer_params(id: SiteId) -> CertificateParams {
    let mut params = authority_params(id, "issuer", 0);
    params.name_constraints = Some(local_name::constraints());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Parameters of root and issuer. The names have the site's code, so that two sites' certificates are not confused in a browser.
fn authority_params(id: SiteId, what: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("Gaung {} {what}", id.code()));
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = params.not_before + Duration::from_secs(LAST_SECOND);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf_params(
    role: Role,
    key: &ServicePublicKey,
    names: &[LocalName],
    now: UnixTime,
) -> Result<CertificateParams, AuthorityError> {
    // Within the issuer's validity, or a registry whose clock is far off would issue what no date fits.
    let issued = now.as_secs().clamp(LEAF_VALIDITY, LAST_SECOND - LEAF_VALIDITY);
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&role.to_string());
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(issued - LEAF_VALIDITY);
    params.not_after = params.not_before + Duration::from_secs(2 * LEAF_VALIDITY);
    params.subject_alt_names = vec![SanType::DnsName(role.to_string().try_into()?)];
    for name in names {
        params.subject_alt_names.push(name.subject()?);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial(role, key, issued));
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Returns a serial number of its own for each key and time: browsers refuse two certificates of one issuer that share one.
fn serial(role: Role, key: &ServicePublicKey, issued: u64) -> SerialNumber {
    let what = [role.to_string().as_bytes(), key.der_bytes(), &issued.to_be_bytes()].concat();
    let hash = digest::digest(&digest::SHA256, &what);
    let mut bytes: [u8; 16] = *hash.as_ref().first_chunk().expect("SHA-256 gives 32 bytes");
    // Positive, and without a leading zero.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}
