//! The client: one server, one device, one process.

use std::{sync::Arc, time::Duration};

use gaung_proto::{ClientId, DeviceId, DisplayName, GroupId, GroupName, GroupRetention, Seq};

use crate::{
    broadcast::{self, BroadcastListener},
    calls::{self, GroupKey},
    context::Context,
    device::Device,
    error::ClientError,
    group::{GroupInfo, HubStatus, Invite, LogStatus, Member, NewGroup, ServerStatus, ServiceInfo},
    history::{self, History, HistoryPage},
    listen::{self, ListenOptions, Listener},
    people::PeopleFile,
    publish::{Publisher, Publishers},
    receipts::Receipts,
    settings::Settings,
    site_trust::{MetSite, SiteRecording},
};

/// A connection to one server. Clones share it, and it reconnects by itself.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) context: Arc<Context>,
    /// Kept for as long as the client, so that no client_seq is given twice.
    publishers: Arc<Publishers>,
}

impl Client {
    /// Reads or makes the device key, finds the server and connects to its registry.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if it does not answer, [`ClientError::SeveralServers`] if discovery found more
    /// than one, [`ClientError::OtherSite`], [`ClientError::NoTls`], [`ClientError::Failed`] if the data folder cannot be used or the
    /// device key is protected by a passphrase.
    pub async fn connect(settings: Settings) -> Result<Self, ClientError> {
        let data_dir = settings.data_dir.clone();
        let device = tokio::task::spawn_blocking(move || Device::load_or_create(&data_dir))
            .await
            .map_err(|error| ClientError::Failed(error.to_string()))?
            .map_err(|error| ClientError::Failed(error.to_string()))?;
        Self::connect_as(device, settings).await
    }

    /// Connects as [`Self::connect`] does, under a key that was read before, such as one that [`DeviceKeyFile::unlock`] decrypted.
    ///
    /// # Errors
    /// As [`Self::connect`].
    ///
    /// [`DeviceKeyFile::unlock`]: crate::DeviceKeyFile::unlock
    pub async fn connect_as(device: Device, settings: Settings) -> Result<Self, ClientError> {
        Self::connect_with(device, settings, SiteRecording::On).await
    }

    /// Connects under a device key that is not kept, to read what is public. Nothing in the data folder is changed: known sites
    /// are honoured, and a site that is met is not recorded.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn look(settings: Settings) -> Result<Self, ClientError> {
        Self::connect_with(Device::ephemeral(), settings, SiteRecording::Off).await
    }

    async fn connect_with(device: Device, settings: Settings, recording: SiteRecording) -> Result<Self, ClientError> {
        let context = Arc::new(Context::connect(device, settings, recording).await?);
        Ok(Self { context, publishers: Arc::default() })
    }

    /// The registry in use as `HOST:PORT`; that of a discovered server may change.
    #[must_use]
    pub fn server(&self) -> String {
        self.context.server.to_string()
    }

    /// Returns the site that the server belongs to; `None` if the connections are not encrypted.
    #[must_use]
    pub fn site(&self) -> Option<MetSite> {
        self.context.trust.met()
    }

    /// Returns how many seconds ago the server's certificate was issued, from its clock to this machine's: it is renewed daily, so
    /// much more, or less than nothing, says that the clocks differ. `None` if the connections are not encrypted.
    #[must_use]
    pub fn certificate_age(&self) -> Option<i64> {
        self.context.trust.certificate_age()
    }

    /// Identifies this device: the same for all processes of one data folder.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.context.device.id()
    }

    /// Returns the Ed25519 public key of this device.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.context.device.public_key()
    }

    /// Names the file in which this device keeps whom it knows.
    #[must_use]
    pub fn people_file(&self) -> PeopleFile {
        PeopleFile::of(&self.context.settings.data_dir)
    }

    /// Identifies this process; random.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.context.client_id
    }

    /// The display name.
    #[must_use]
    pub fn name(&self) -> String {
        self.context.name()
    }

    /// Changes the display name: in groups within a lease, and for publishers that start later.
    pub fn rename(&self, name: DisplayName) {
        self.context.rename(&name);
    }
}

/// Messages.
impl Client {
    /// Joins the groups and starts to listen; returns once the registry lists this member in each of them.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`],
    /// [`ClientError::NoMulticastAddress`], [`ClientError::PrivateByTcpOnly`], [`ClientError::NoHub`]. Once this has
    /// succeeded, a lost connection is an event, and reconnecting never ends.
    pub async fn listen(&self, options: ListenOptions) -> Result<Listener, ClientError> {
        listen::start(&self.context, options).await
    }

    /// A publisher to one group; all of one client and group share one order.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`].
    pub async fn publisher(&self, group: &GroupName) -> Result<Publisher, ClientError> {
        self.publishers.publisher(&self.context, group).await
    }

    /// Reads a page of the log, oldest message first. `limit`: at most so many messages.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`].
    pub async fn history(
        &self,
        group: &GroupName,
        page: HistoryPage,
        limit: Option<u64>,
    ) -> Result<History, ClientError> {
        history::start(&self.context, group, page, limit).await
    }

    /// Follows the receipts of 1 to 1024 acknowledged messages for at most `wait`.
    ///
    /// # Errors
    /// [`ClientError::Usage`] for no message or too many, [`ClientError::NotFound`], [`ClientError::NotAllowed`].
    pub async fn receipts(
        &self,
        group: &GroupName,
        seqs: impl IntoIterator<Item = Seq>,
        wait: Duration,
    ) -> Result<Receipts, ClientError> {
        Receipts::watch(&self.context, group, seqs.into_iter().collect(), wait).await
    }

    /// Listens to `everyone` by UDP broadcast. `port`: `None` for the hub's, else 7405.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the port cannot be had.
    pub async fn broadcast_listener(&self, port: Option<u16>) -> Result<BroadcastListener, ClientError> {
        broadcast::of_server(&self.context, port).await
    }
}

/// Groups, members and services.
impl Client {
    /// Makes a group that this device owns.
    ///
    /// # Errors
    /// [`ClientError`]; taken names and addresses, and an exhausted pool, are [`ClientError::Failed`].
    pub async fn create_group(&self, new: NewGroup) -> Result<GroupInfo, ClientError> {
        self.context.create_group(new).await
    }

    /// Reads one group.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn group(&self, name: &GroupName) -> Result<GroupInfo, ClientError> {
        self.context.get_group(&GroupKey::Name(name.clone())).await
    }

    /// Lists all groups in order of name: public ones, and the private ones that this device is a member of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, ClientError> {
        self.context.list_groups().await
    }

    /// Deletes a group that this device owns.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn delete_group(&self, name: &GroupName) -> Result<(), ClientError> {
        self.context.delete_group(self.group_id(name).await?).await
    }

    /// Starts a new log for a group that this device owns; the messages of the old one are lost.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn reset_group(&self, name: &GroupName) -> Result<GroupInfo, ClientError> {
        self.context.reset_group(self.group_id(name).await?).await
    }

    /// Sets all limits on the log of a group that this device owns. The relay deletes what exceeds them within a
    /// minute, for good.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn set_retention(&self, name: &GroupName, keep: GroupRetention) -> Result<GroupInfo, ClientError> {
        self.context.set_retention(self.group_id(name).await?, keep).await
    }

    /// Lists the devices in a group.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn members(&self, name: &GroupName) -> Result<Vec<Member>, ClientError> {
        self.context.list_members(self.group_id(name).await?).await
    }

    /// Makes this device a lasting member.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] for a private group to which it was not invited, and others.
    pub async fn join(&self, name: &GroupName) -> Result<GroupInfo, ClientError> {
        Ok(self.context.join(&GroupKey::Name(name.clone()), None).await?.group)
    }

    /// Ends this device's lasting membership.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] if there is no such group, and others.
    pub async fn leave(&self, name: &GroupName) -> Result<(), ClientError> {
        self.context.leave_membership(self.group_id(name).await?).await
    }

    /// Makes an invite. `uses`: `None` for any number. `expires`: `None` for 24 h.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] if this device is not a member, and others.
    pub async fn invite(
        &self,
        name: &GroupName,
        uses: Option<u32>,
        expires: Option<Duration>,
    ) -> Result<Invite, ClientError> {
        self.context.create_invite(self.group_id(name).await?, uses, expires).await
    }

    /// Revokes an invite.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn revoke(&self, code: &str) -> Result<(), ClientError> {
        self.context.revoke_invite(code).await
    }

    /// Joins the group of an invite.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] if the code is unknown, used up or expired, and others.
    pub async fn redeem(&self, code: &str) -> Result<GroupInfo, ClientError> {
        self.context.redeem_invite(code).await
    }

    /// Reads which services the server consists of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<ServerStatus, ClientError> {
        self.context.server_status().await
    }

    /// Reads a group's log status and present members from its relay.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] for a private group to which this device was not invited,
    /// [`ClientError::Unreachable`] if the relay does not answer, and others.
    pub async fn group_status(&self, name: &GroupName) -> Result<LogStatus, ClientError> {
        self.context.access(&GroupKey::Name(name.clone())).await?.log_status(&self.context.trust).await
    }

    /// Reads the status of a hub.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if it does not answer, [`ClientError::Usage`] if `service` is not a hub.
    pub async fn hub_status(&self, service: &ServiceInfo) -> Result<HubStatus, ClientError> {
        calls::hub::status(&self.context.trust, service).await
    }

    async fn group_id(&self, name: &GroupName) -> Result<GroupId, ClientError> {
        Ok(self.group(name).await?.id)
    }
}
