//! All texts in English and Indonesian. `{names}` in braces are replaced by values.

/// Declares the texts; one that lacks a language does not compile.
macro_rules! catalogue {
    ($($word:ident: $english:expr, $indonesian:expr;)+) => {
        /// A text of the screen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum UiText {
            $(
                $word,
            )+
        }

        impl UiText {
            /// All texts.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$word),+];

            /// Returns the text in English and in Indonesian.
            pub(super) const fn both(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$word => ($english, $indonesian),)+
                }
            }
        }
    };
}

catalogue! {
    Weekdays: "Monday Tuesday Wednesday Thursday Friday Saturday Sunday", "Senin Selasa Rabu Kamis Jumat Sabtu Minggu";
    Months: "January February March April May June July August September October November December",
        "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember";

    LaneMulticast: "multicast", "multicast";
    LaneTcp: "tcp", "tcp";
    LaneBroadcast: "broadcast", "broadcast";
    LaneText: "text", "teks";
    LaneHistory: "history", "riwayat";
    LaneMulticastShort: "mcast", "mcast";
    LaneBroadcastShort: "bcast", "bcast";
    ByLane: "by {lane}", "lewat {lane}";
    LaneChanged: "now comes by {lane}: {why}", "sekarang lewat {lane}: {why}";

    SizeAssumed: "the terminal tells no size; {columns}×{rows} is assumed; stty cols C rows R sets another",
        "terminal tidak memberi tahu ukurannya; dianggap {columns}×{rows}; ubah dengan stty cols C rows R";
    Entering: "entering…", "sedang masuk…";
    Reconnecting: "reconnecting…", "menyambung kembali…";
    GroupGone: "gone", "sudah tidak ada";
    Private: "private", "pribadi";
    PeopleHere: "{count} here", "{count} hadir";
    MoreMembers: " … {count} more", " … {count} lagi";
    You: " (you)", " (Anda)";

    Hint: "? lists the keys · Ctrl-N/P other group · PgUp earlier · Tab completes · /quit",
        "? daftar tombol · Ctrl-N/P grup lain · PgUp ke atas · Tab melengkapi · /quit";
    SelectedHint: "#{seq}: r reply · e edit · d delete · + react · i who has heard · Esc back",
        "#{seq}: r balas · e ubah · d hapus · + reaksi · i siapa mendengar · Esc kembali";
    ReplyingTo: "answering {message} · Esc gives it up", "membalas {message} · Esc batal";
    Editing: "editing {message} · Esc gives it up", "mengubah {message} · Esc batal";
    Loading: "reading…", "membaca…";
    MoreBelow: "↓ Esc: to the newest", "↓ Esc: ke yang terbaru";
    NewBelow: "↓ {count} new · Esc", "↓ {count} baru · Esc";
    Empty: "nothing was said here yet; type and press Enter", "belum ada pesan; ketik lalu tekan Enter";
    NewFromHere: "new", "baru";
    NothingNew: "nothing new in any group", "tidak ada yang baru di grup mana pun";
    OnceMoreToQuit: "Ctrl-C once more leaves the chat", "Ctrl-C sekali lagi untuk keluar";

    MoreWords: "… {count} more bytes; Alt-Up, then i shows all", "… {count} bita lagi; Alt-Atas, lalu i memperlihatkan semua";
    Edited: "(edited)", "(diubah)";
    TakenBack: "(taken back)", "(dihapus)";
    Hidden: "(hidden by a moderator)", "(disembunyikan moderator)";
    UnknownKind: "(a message of unknown kind {kind}: this program is older)",
        "(pesan jenis {kind} tidak dikenal: program ini lebih lama)";
    MissingRange: "missing {range}, asked for", "kurang {range}, sedang diminta";
    LostRange: "lost {range}: the log does not have them any more", "hilang {range}: catatan tidak menyimpannya lagi";
    Came: "{names} came", "{names} datang";
    CameMany: "{names} and {more} more came", "{names} dan {more} lainnya datang";
    Went: "{names} left", "{names} pergi";
    WentMany: "{names} and {more} more left", "{names} dan {more} lainnya pergi";

    Heard: "heard by {heard} of {present}", "didengar {heard} dari {present}";
    CannotSay: "{count} cannot say", "{count} tidak dapat memberi tahu";
    NotYet: "not yet: {names}", "belum: {names}";
    WereAway: "away when it was said: {count}", "tidak hadir saat pesan dikirim: {count}";
    WaitingForRelay: "waiting for the relay to take it", "menunggu relay menerimanya";
    NotSent: "not sent: {why}", "tidak terkirim: {why}";
    CameBy: "came by {lane} · device {device}", "tiba lewat {lane} · perangkat {device}";
    SignedByCompared: "✓ signed by this device, whose key you have compared",
        "✓ ditandatangani perangkat ini, kuncinya sudah Anda bandingkan";
    SignedByDevice: "signed by this device", "ditandatangani perangkat ini";
    NotSigned: "~ not signed: anybody may have written it", "~ tanpa tanda tangan: siapa saja mungkin penulisnya";
    SignatureBroken: "✗ the signature does not fit: it was changed, or another one wrote it",
        "✗ tanda tangan tidak cocok: isinya diubah, atau penulisnya orang lain";
    NotLoaded: "this message is not on the screen any more", "pesan ini tidak lagi termuat";
    NothingSaidYet: "nothing of yours is here yet", "belum ada pesan Anda di sini";

    CannotBeReached: "cannot be reached, trying again: {why}", "tidak dapat dihubungi, mencoba lagi: {why}";
    ReachedAgain: "reached again, nothing is missing", "terhubung lagi, tidak ada yang terlewat";
    HistoryLost: "its history is lost, the log starts again at 1", "riwayatnya hilang, catatan mulai lagi dari 1";
    WereForged: "messages {first} to {last} were forged by somebody on this network; what was really said follows",
        "pesan {first} sampai {last} dipalsukan seseorang di jaringan ini; yang sebenarnya menyusul";
    IsGone: "this group is gone: {why}", "grup ini sudah tidak ada: {why}";
    CannotEnter: "cannot enter {group}: {why}", "tidak dapat masuk {group}: {why}";
    NoSuchGroup: "there is no group {group}; /create {group} makes it", "tidak ada grup {group}; /create {group} membuatnya";
    NotInvited: "{group} is private: ask a member for an invite, then /join CODE",
        "{group} bersifat pribadi: mintalah undangan kepada anggota, lalu /join KODE";
    CannotRead: "cannot read the log: {why}", "tidak dapat membaca catatan: {why}";
    NothingCanBeSent: "nothing can be done in this group now", "sekarang tidak ada yang dapat dilakukan di grup ini";
    TooMuchUnderWay: "the relay has not taken the last messages yet; what you typed is still here",
        "relay belum menerima pesan-pesan terakhir; ketikan Anda masih ada di sini";
    TooLong: "that is more than one message can carry", "itu lebih dari yang muat dalam satu pesan";
    NothingToReply: "there is no message to answer here", "tidak ada pesan untuk dibalas di sini";
    NotYours: "only your own messages can be changed, and there is none here",
        "hanya pesan sendiri yang dapat diubah, dan tidak ada di sini";
    NoSuchMessage: "there is no message #{seq}", "tidak ada pesan #{seq}";
    NotOpen: "that group is not open", "grup itu tidak terbuka";
    LastGroup: "this is the only open group; /quit leaves the chat", "ini satu-satunya grup terbuka; /quit untuk keluar";
    ShownApart: "another device had this name first: it is shown as {name}",
        "nama ini lebih dahulu dipakai perangkat lain: yang ini ditampilkan sebagai {name}";
    NothingSignedBy: "nothing here is signed by {name}", "tidak ada yang ditandatangani {name} di sini";
    CompareDigits: "read these digits to {name} and let {name} read theirs, face to face or by telephone:\n{digits}\nif they are the same: /verify {name} yes",
        "bacakan angka ini kepada {name} dan dengarkan angka {name}, langsung atau lewat telepon:\n{digits}\njika sama: /verify {name} ya";
    Verified: "the key of {name} is compared: ✓ after the name", "kunci {name} sudah dibandingkan: ✓ setelah nama";
    TooManyVerified: "too many keys are compared already; {name} is not noted", "sudah terlalu banyak kunci yang dibandingkan; {name} tidak dicatat";
    Kicked: "{name} was removed from {group}; who has a new invite, or finds it open, may come back",
        "{name} dikeluarkan dari {group}; dengan undangan baru, atau jika grupnya terbuka, boleh kembali";
    Banned: "{name} is banned from {group}; /unban {name} lifts that", "{name} dilarang di {group}; /unban {name} mencabutnya";
    Unbanned: "{name} may join {group} again", "{name} boleh masuk {group} lagi";
    Muted: "{name} may not write in {group} for {time}; /unmute {name} lifts that",
        "{name} tidak boleh menulis di {group} selama {time}; /unmute {name} mencabutnya";
    Unmuted: "{name} may write in {group} again", "{name} boleh menulis di {group} lagi";
    HasRole: "{name} is {role} of {group} now", "{name} sekarang {role} di {group}";
    RoleOwner: "owner", "pemilik";
    RoleAdmin: "admin", "admin";
    RoleModerator: "moderator", "moderator";
    RoleMember: "member", "anggota";
    CalledNow: "others see you as {name} from now on", "mulai sekarang Anda terlihat sebagai {name}";
    Invited: "invite, until {until}; hand it on by another way:\n/join {code}",
        "undangan, sampai {until}; sampaikan lewat jalan lain:\n/join {code}";
    InviteNotNeeded: "this group is open to all: /join is enough", "grup ini terbuka bagi semua: cukup /join";
    FirstContact: "first contact with the site {code}; compare the code with the one that the server shows",
        "kontak pertama dengan situs {code}; bandingkan kodenya dengan yang ditampilkan server";
    Joining: "others join with: {commands}", "orang lain bergabung dengan: {commands}";

    NoSuchCommand: "there is no /{name}; /help lists what there is", "tidak ada /{name}; /help memperlihatkan yang ada";
    NoGroupName: "no group can be called {name}: use letters, digits, - _ .",
        "grup tidak dapat bernama {name}: gunakan huruf, angka, - _ .";
    UsageJoin: "which group? /join GROUP, or /join CODE with an invite", "grup mana? /join GRUP, atau /join KODE dengan undangan";
    UsageCreate: "/create GROUP, or /create GROUP private for one by invite only",
        "/create GRUP, atau /create GRUP pribadi untuk yang hanya lewat undangan";
    UsageInvite: "/invite, or /invite USES, or /invite USES TIME such as /invite 5 24h",
        "/invite, atau /invite JUMLAH, atau /invite JUMLAH WAKTU misalnya /invite 5 24h";
    UsageMe: "what do you do? /me waves", "sedang apa? /me melambai";
    UsageNick: "which name? /nick NAME, at most 64 characters", "nama apa? /nick NAMA, paling banyak 64 huruf";
    UsageVerify: "whom? /verify NAME shows digits to compare, /verify NAME yes notes that they are the same",
        "siapa? /verify NAMA memperlihatkan angka untuk dibandingkan, /verify NAMA ya mencatat bahwa angkanya sama";
    UsageKick: "whom? /kick NAME removes somebody, who may come back by a new invite",
        "siapa? /kick NAMA mengeluarkannya; boleh kembali dengan undangan baru";
    UsageBan: "whom? /ban NAME removes somebody for good; /unban NAME lifts that",
        "siapa? /ban NAMA mengeluarkannya selamanya; /unban NAMA mencabutnya";
    UsageUnban: "whom? /unban NAME, or the first digits of the device", "siapa? /unban NAMA, atau angka awal perangkatnya";
    UsageMute: "whom? /mute NAME, or /mute NAME TIME such as /mute budi 1h; 10m without a time",
        "siapa? /mute NAMA, atau /mute NAMA WAKTU misalnya /mute budi 1h; tanpa waktu 10m";
    UsageUnmute: "whom? /unmute NAME", "siapa? /unmute NAMA";
    UsageRole: "/role NAME admin, moderator or member", "/role NAMA admin, moderator, atau anggota";
    UsageDelete: "/delete takes back your last message, /delete #12 that one",
        "/delete menghapus pesan terakhir Anda, /delete #12 pesan itu";
    UsageRedact: "/redact #12 hides that message of anybody; its bytes stay in the log until they are dropped",
        "/redact #12 menyembunyikan pesan itu dari siapa pun; isinya tetap di catatan sampai dibuang";
    UsageHistory: "/history goes to the oldest message, /history #12 to that one",
        "/history ke pesan tertua, /history #12 ke pesan itu";
    UsageHeard: "/heard is about your last message, /heard #12 about that one",
        "/heard tentang pesan terakhir Anda, /heard #12 tentang pesan itu";
    UsageReact: "/react 👍 or /react #12 👍; a - before the emoji takes it back; +1 heart laugh party ok are names",
        "/react 👍 atau /react #12 👍; - di depan emoji menariknya; +1 heart laugh party ok adalah nama";
    UsageSearch: "for which words? /search WORDS", "kata apa? /search KATA";
    UsageLane: "/lane tells how messages come; /lane auto, multicast or tcp changes it",
        "/lane memberi tahu jalur pesan; /lane auto, multicast, atau tcp mengubahnya";
    UsageNotify: "/notify mentions, all or off; /notify bell on or off; /notify desktop on, off, 9 or 777",
        "/notify sebutan, semua, atau mati; /notify bel hidup atau mati; /notify desktop hidup, mati, 9, atau 777";
    UsageMouse: "/mouse on or off", "/mouse hidup atau mati";

    On: "on", "hidup";
    Off: "off", "mati";
    NotifyNow: "notifications: {of}; bell {bell}, desktop {desktop}", "pemberitahuan: {of}; bel {bell}, desktop {desktop}";
    NotifyMentions: "when you are named or answered", "saat Anda disebut atau dibalas";
    NotifyAll: "every message", "setiap pesan";
    NotifyOff: "none", "tidak ada";
    MouseOn: "the wheel scrolls, a click opens a group; hold Shift to select text",
        "roda menggulir, klik membuka grup; tahan Shift untuk memilih teks";
    MouseOff: "the mouse is the terminal's again", "tetikus kembali milik terminal";

    MembersOf: "members of {group}", "anggota {group}";
    SearchOf: "“{words}” in {group}", "“{words}” di {group}";
    StatusOf: "services of {server}", "layanan {server}";
    Looking: "looking…", "mencari…";
    NothingFound: "nothing found", "tidak ditemukan";
    Relay: "relay", "relay:";
    Hub: "hub", "hub:";
    Alive: "alive", "hidup";
    Away: "away", "tidak hadir";
    OnDisk: "on disk", "di cakram";
    InMemory: "in memory", "di memori";
    LogRange: "log: #{oldest} to #{head}, {durable}", "catatan: #{oldest} sampai #{head}, {durable}";
    MemberStatus: "{name}: {lane}, {behind} behind, {lost} datagrams lost, {repaired} repaired",
        "{name}: {lane}, tertinggal {behind}, {lost} datagram hilang, {repaired} diperbaiki";

    HelpTitle: "keys and commands · Esc closes · ↓ more", "tombol dan perintah · Esc menutup · ↓ lagi";
    Help: HELP_EN, HELP_ID;
}

const HELP_EN: &str = "\
GROUPS
Ctrl-N Ctrl-P   next, previous group      Alt-1 … Alt-9  that group
Alt-A           next one with something new, mentions first
Alt-/           back to the one before

READING
PgUp PgDn       a page; earlier ones are read from the log
Ctrl-Up/Down    a row                     Ctrl-Home/End  oldest, newest
Alt-Up/Down     select a message; then r reply, e edit, d delete,
                + react, i who has heard, Esc back
Alt-H           who has heard your last message
Esc             give up an answer or edit; then to the newest message
✓ after a name  signed, and you have compared the key: /verify
~ after a name  not signed: anybody may have written it
✗ after a name  the signature does not fit: changed on the way

TYPING
Enter           send                      Alt-Enter      another line
Tab             complete a name, group or command; again: the next one
Up Down         what you entered before
Ctrl-A E B F    begin, end, back, forward Alt-B Alt-F    by words
Ctrl-U K W      cut to begin, end, word   Ctrl-Y         put it back
Ctrl-C          clear the line; twice on an empty one: leave
Ctrl-L          draw anew                 ??             a ? alone

COMMANDS
/join GROUP or CODE      enter a group, or one you were invited to
/leave [GROUP]           leave it
/create GROUP [private]  make one         /invite [USES [TIME]]
/members  /status        who is there; how the services are
/me WORDS                what you do      /nick NAME
/verify NAME             compare keys by reading digits aloud
/reply [#N] [WORDS]      answer           /edit [#N] [WORDS]
/delete [#N]             take back        /react [#N] [-]EMOJI
/search WORDS            in the whole log /history [#N]  go there
/heard [#N]              who has heard
with a role: /redact #N  hide a message   /kick NAME  /ban  /unban
/mute NAME [10m]  /unmute                 /role NAME moderator
/lane [auto|multicast|tcp]                how messages come
/notify [mentions|all|off] or bell, desktop on|off
/mouse on|off            /help            /quit
//words                  words that begin with a slash
#N is a message's number; Alt-Up shows it. Without it: the last one.";

const HELP_ID: &str = "\
GRUP
Ctrl-N Ctrl-P   grup berikut, sebelumnya  Alt-1 … Alt-9  grup itu
Alt-A           berikut yang ada barunya, sebutan lebih dahulu
Alt-/           kembali ke yang tadi

MEMBACA
PgUp PgDn       satu halaman; yang lama dibaca dari catatan
Ctrl-Atas/Bawah satu baris                Ctrl-Home/End  tertua, terbaru
Alt-Atas/Bawah  pilih pesan; lalu r balas, e ubah, d hapus,
                + reaksi, i siapa mendengar, Esc kembali
Alt-H           siapa yang sudah mendengar pesan terakhir Anda
Esc             batal membalas atau mengubah; lalu ke pesan terbaru
✓ setelah nama  ditandatangani, kuncinya sudah dibandingkan: /verify
~ setelah nama  tanpa tanda tangan: siapa saja mungkin penulisnya
✗ setelah nama  tanda tangan tidak cocok: isinya diubah di jalan

MENGETIK
Enter           kirim                     Alt-Enter      baris baru
Tab             lengkapi nama, grup, atau perintah; lagi: berikutnya
Atas Bawah      yang diketik sebelumnya
Ctrl-A E B F    awal, akhir, mundur, maju Alt-B Alt-F    per kata
Ctrl-U K W      potong ke awal, akhir, kata  Ctrl-Y      tempel lagi
Ctrl-C          kosongkan baris; dua kali saat kosong: keluar
Ctrl-L          gambar ulang              ??             sebuah ? saja

PERINTAH
/join GRUP atau KODE     masuk grup, atau yang mengundang Anda
/leave [GRUP]            tinggalkan
/create GRUP [pribadi]   buat grup        /invite [JUMLAH [WAKTU]]
/members  /status        siapa yang hadir; keadaan layanan
/me KATA                 sedang apa       /nick NAMA
/verify NAMA             bandingkan kunci dengan membacakan angka
/reply [#N] [KATA]       balas            /edit [#N] [KATA]
/delete [#N]             hapus            /react [#N] [-]EMOJI
/search KATA             di seluruh catatan  /history [#N]  ke sana
/heard [#N]              siapa mendengar
dengan peran: /redact #N sembunyikan      /kick NAMA  /ban  /unban
/mute NAMA [10m]  /unmute                 /role NAMA moderator
/lane [auto|multicast|tcp]                jalur pesan
/notify [sebutan|semua|mati] atau bel, desktop hidup|mati
/mouse hidup|mati        /help            /quit
//kata                   kata yang diawali garis miring
#N nomor pesan; Alt-Atas memperlihatkannya. Tanpa itu: yang terakhir.";
