//! The texts of claims.

use super::Language;
use crate::claims::ClaimId;

/// A claim's two sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimWords {
    /// The expectation.
    pub expected: &'static str,
    /// The measurement, with placeholders for the claim's figures.
    pub measured: &'static str,
}

impl ClaimId {
    /// Returns the claim's texts.
    #[must_use]
    pub const fn words(self, language: Language) -> ClaimWords {
        let (expected, measured) = match language {
            Language::En => english(self),
            Language::Id => indonesian(self),
        };
        ClaimWords { expected, measured }
    }
}

const fn english(claim: ClaimId) -> (&'static str, &'static str) {
    match claim {
        ClaimId::MulticastFlat => (
            "With multicast the sender transmits each message once, however many receivers there are.",
            "From 1 to {0} receivers its bytes went from {1} to {2}, that is {3} times as many.",
        ),
        ClaimId::BroadcastFlat => (
            "With broadcast, too, the sender transmits each message once for all.",
            "From 1 to {0} receivers its bytes went from {1} to {2}, that is {3} times as many.",
        ),
        ClaimId::UnicastLinear => (
            "With unicast the sender transmits a copy to each receiver, so that its bytes grow in proportion to them.",
            "For {0} times as many receivers it sent {3} times as many bytes: {2} instead of {1}.",
        ),
        ClaimId::TcpLinear => (
            "Fan-out over TCP is unicast as well: the hub's bytes grow in proportion to the receivers.",
            "For {0} times as many receivers it sent {3} times as many bytes: {2} instead of {1}.",
        ),
        ClaimId::MulticastCheaper => (
            "The more receivers, the more multicast saves against unicast to each.",
            "At {0} receivers unicast cost {1} times the bytes of multicast.",
        ),
        ClaimId::MulticastSooner => (
            "To many receivers, multicast reaches the last one sooner than unicast, which comes to it last of all.",
            "At {0} receivers the last one had everything after {1} by multicast and after {2} by unicast (medians).",
        ),
        ClaimId::MulticastCpuFlat => (
            "Multicast leaves the copying to the network: the sender's processor time grows far less than with unicast.",
            "From 1 to {0} receivers, each further one took {1} with multicast and {2} with unicast.",
        ),
        ClaimId::WitnessHearsBroadcast => (
            "A broadcast reaches every host of the network, also one that did not ask for it.",
            "For each message {0} frames came to the witness with the querier off, and {1} with it on.",
        ),
        ClaimId::QuerierPrunes => (
            "A switch that snoops IGMP and has a querier sends multicast only to ports that joined the group.",
            "With the querier on, {0} frames came to the witness for each message, and {1} to the member.",
        ),
        ClaimId::FloodsWithoutQuerier => (
            "Without a querier the switch does not know who wants multicast, and floods it as if it were broadcast.",
            "With the querier off, {0} frames came to the witness for each message.",
        ),
        ClaimId::TwoWorkersFaster => (
            "A second worker thread lets the services send to several groups and sessions at the same time, and so deliver more.",
            "With 1 worker {0} were delivered, with 2 workers {1}: {2} times as many.",
        ),
        ClaimId::CoresLimitWorkers => (
            "More worker threads than processor cores bring no further gain.",
            "On {0} cores, {1} workers delivered {2} times as many messages in a second as {3}.",
        ),
        ClaimId::RepairComplete => (
            "Repair brings every message to every member, although the network loses datagrams.",
            "At a loss of up to {0} members heard {1} of the messages at least (median).",
        ),
        ClaimId::UnrepairedLoses => (
            "Without repair, as with plain UDP, as much is missing as the network loses.",
            "At a loss of {0} members heard {1} of the messages.",
        ),
        ClaimId::RepairCosts => (
            "Repair costs bytes at the sender: the more is lost, the more.",
            "At a loss of {0} it sent {1} times the bytes of a network without loss.",
        ),
        ClaimId::MulticastReceipts => (
            "By multicast with receipts the sender knows who has heard.",
            "It knew of {0} out of {1} members that they had heard.",
        ),
        ClaimId::TcpReceipts => (
            "By TCP, where sessions acknowledge, the sender knows who has heard.",
            "It knew of {0} out of {1} members that they had heard.",
        ),
        ClaimId::BroadcastSilent => (
            "By broadcast the sender learns nothing of its receivers, though they hear.",
            "The receivers heard {0} of the messages, and the sender knew of {1} members.",
        ),
        ClaimId::SleeperMissed => (
            "A member that does not hear is missing in the receipt, so that the sender notices.",
            "With one of {1} members asleep the receipt counted {0} that had heard.",
        ),
        ClaimId::LogServesLate => (
            "An ordered log lets a receiver that comes late read what was sent before.",
            "Of what had been sent before it came it got {0} by multicast and {1} by TCP, within {2} and {3}.",
        ),
        ClaimId::NoLogNothing => (
            "Broadcast and multicast without a log are for those who are there: who comes late gets nothing.",
            "Of what had been sent before it came it got {0} by broadcast, and {1} by multicast without a log.",
        ),
    }
}

const fn indonesian(claim: ClaimId) -> (&'static str, &'static str) {
    match claim {
        ClaimId::MulticastFlat => (
            "Pada multicast, pengirim memancarkan setiap pesan hanya satu kali, berapa pun jumlah penerimanya.",
            "Dari 1 ke {0} penerima, jumlah byte di pengirim berubah dari {1} menjadi {2}, yaitu {3} kali lipat.",
        ),
        ClaimId::BroadcastFlat => (
            "Pada broadcast pun pengirim memancarkan setiap pesan satu kali untuk semua.",
            "Dari 1 ke {0} penerima, jumlah byte di pengirim berubah dari {1} menjadi {2}, yaitu {3} kali lipat.",
        ),
        ClaimId::UnicastLinear => (
            "Pada unicast, pengirim memancarkan satu salinan untuk setiap penerima, sehingga jumlah byte tumbuh sebanding dengan jumlah penerima.",
            "Untuk penerima {0} kali lebih banyak, pengirim memancarkan byte {3} kali lebih banyak: {2}, bukan {1}.",
        ),
        ClaimId::TcpLinear => (
            "Penyebaran lewat TCP pada dasarnya juga unicast: jumlah byte hub tumbuh sebanding dengan jumlah penerima.",
            "Untuk penerima {0} kali lebih banyak, hub memancarkan byte {3} kali lebih banyak: {2}, bukan {1}.",
        ),
        ClaimId::MulticastCheaper => (
            "Makin banyak penerima, makin besar penghematan multicast dibandingkan unicast satu per satu.",
            "Pada {0} penerima, unicast memerlukan byte {1} kali lipat dari multicast.",
        ),
        ClaimId::MulticastSooner => (
            "Untuk banyak penerima, multicast lebih cepat mencapai penerima terakhir daripada unicast, yang harus melayani penerima satu per satu.",
            "Pada {0} penerima, penerima terakhir mendapat semua pesan setelah {1} dengan multicast dan setelah {2} dengan unicast (median).",
        ),
        ClaimId::MulticastCpuFlat => (
            "Multicast menyerahkan penggandaan kepada jaringan: waktu CPU pengirim tumbuh jauh lebih sedikit daripada pada unicast.",
            "Dari 1 ke {0} penerima, setiap penerima tambahan memerlukan {1} pada multicast dan {2} pada unicast.",
        ),
        ClaimId::WitnessHearsBroadcast => (
            "Broadcast sampai ke setiap host di jaringan, termasuk host yang tidak memintanya.",
            "Untuk setiap pesan, {0} frame sampai ke saksi ketika querier mati dan {1} ketika querier aktif.",
        ),
        ClaimId::QuerierPrunes => (
            "Switch dengan IGMP snooping dan querier meneruskan multicast hanya ke port yang bergabung dengan grup.",
            "Ketika querier aktif, {0} frame per pesan sampai ke saksi dan {1} ke anggota.",
        ),
        ClaimId::FloodsWithoutQuerier => (
            "Tanpa querier, switch tidak tahu siapa yang menginginkan multicast, lalu membanjirkannya seperti broadcast.",
            "Ketika querier mati, {0} frame per pesan sampai ke saksi.",
        ),
        ClaimId::TwoWorkersFaster => (
            "Thread pekerja kedua memungkinkan layanan mengirim ke beberapa grup dan sesi pada saat yang sama, sehingga lebih banyak pesan tersampaikan.",
            "Dengan 1 pekerja tersampaikan {0}, dengan 2 pekerja {1}: {2} kali lipat.",
        ),
        ClaimId::CoresLimitWorkers => (
            "Thread pekerja yang lebih banyak daripada inti prosesor tidak memberi keuntungan lagi.",
            "Pada {0} inti, {1} pekerja menyampaikan pesan per detik {2} kali lipat dari {3} pekerja.",
        ),
        ClaimId::RepairComplete => (
            "Perbaikan membawa setiap pesan kepada setiap anggota, meskipun jaringan kehilangan datagram.",
            "Pada kehilangan sampai {0}, anggota mendengar sedikitnya {1} dari semua pesan (median).",
        ),
        ClaimId::UnrepairedLoses => (
            "Tanpa perbaikan, seperti pada UDP biasa, pesan yang hilang sebanyak yang dihilangkan jaringan.",
            "Pada kehilangan {0}, anggota mendengar {1} dari semua pesan.",
        ),
        ClaimId::RepairCosts => (
            "Perbaikan menambah byte di pengirim: makin banyak yang hilang, makin banyak pula tambahannya.",
            "Pada kehilangan {0}, pengirim memancarkan {1} kali byte jaringan tanpa kehilangan.",
        ),
        ClaimId::MulticastReceipts => (
            "Pada multicast dengan tanda terima, pengirim tahu siapa yang sudah mendengar.",
            "Pengirim tahu bahwa {0} dari {1} anggota sudah mendengar.",
        ),
        ClaimId::TcpReceipts => (
            "Pada TCP, tempat setiap sesi mengirim konfirmasi, pengirim tahu siapa yang sudah mendengar.",
            "Pengirim tahu bahwa {0} dari {1} anggota sudah mendengar.",
        ),
        ClaimId::BroadcastSilent => (
            "Pada broadcast, pengirim tidak mengetahui apa pun tentang penerimanya, walaupun mereka mendengar.",
            "Para penerima mendengar {0} dari semua pesan, sedangkan pengirim tahu tentang {1} anggota.",
        ),
        ClaimId::SleeperMissed => (
            "Anggota yang tidak mendengar tidak terhitung dalam tanda terima, sehingga pengirim menyadarinya.",
            "Ketika satu dari {1} anggota tertidur, tanda terima mencatat {0} anggota yang sudah mendengar.",
        ),
        ClaimId::LogServesLate => (
            "Log yang berurutan memungkinkan penerima yang terlambat membaca pesan yang dikirim sebelumnya.",
            "Dari pesan sebelum kedatangannya, ia memperoleh {0} lewat multicast dan {1} lewat TCP, dalam {2} dan {3}.",
        ),
        ClaimId::NoLogNothing => (
            "Broadcast dan multicast tanpa log hanya untuk mereka yang hadir: yang terlambat tidak mendapat apa-apa.",
            "Dari pesan sebelum kedatangannya, ia memperoleh {0} lewat broadcast dan {1} lewat multicast tanpa log.",
        ),
    }
}
