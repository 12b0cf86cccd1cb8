//! Labels: names of series and metrics, heads of tables, headings.

use super::catalogue;
use crate::samples::{Experiment, Metric, Series};

catalogue! {
    /// A label.
    Label {
        Title { "Practicum report: multicast and broadcast chat (multithreaded)", "Laporan Praktikum: Aplikasi Chatting Multicast & Broadcast (Multithread)" }
        Introduction { "I. Introduction", "I. Pengenalan" }
        WayOfWorking { "II. How it works", "II. Cara Kerja" }
        Method { "III. Experiment", "III. Percobaan" }
        Results { "IV. Results", "IV. Hasil Percobaan" }
        Analysis { "V. Analysis", "V. Analisis Hasil Percobaan" }
        FourClients { "VI. Additional task: four clients", "VI. Tugas Tambahan: Empat Client" }
        Conclusion { "VII. Conclusion", "VII. Kesimpulan" }
        Repeat { "Appendix: how to repeat it", "Lampiran: Cara Mengulang Percobaan" }
        Topology { "The network of the experiment", "Topologi jaringan percobaan" }
        Environment { "Machine and versions", "Mesin dan versi perangkat lunak" }
        CaptureHead { "What the capture holds", "Isi rekaman paket" }
        Unicast { "unicast to each", "unicast satu per satu" }
        Tcp { "TCP by the hub", "TCP oleh hub" }
        Broadcast { "UDP broadcast", "broadcast UDP" }
        Multicast { "multicast", "multicast" }
        Unrepaired { "multicast without repair", "multicast tanpa perbaikan" }
        OneAsleep { "multicast, one member asleep", "multicast, satu anggota tertidur" }
        OneToMany { "One to many", "Satu ke banyak penerima" }
        WhoHears { "Who hears", "Siapa yang ikut mendengar" }
        Threads { "Threads", "Jumlah thread" }
        Loss { "Loss and repair", "Paket hilang dan perbaikannya" }
        Receipts { "What the sender knows", "Apa yang diketahui pengirim" }
        LateJoiner { "Who comes late", "Penerima yang datang terlambat" }
        SenderBytes { "bytes at the sender, kB", "byte di pengirim, kB" }
        SenderFrames { "frames at the sender", "frame di pengirim" }
        LastReceiver { "time to the last receiver, ms", "waktu sampai penerima terakhir, ms" }
        SenderCpu { "CPU time of the sender, ms", "waktu CPU pengirim, ms" }
        Heard { "heard, %", "terdengar, %" }
        WitnessFrames { "frames at the witness for each message", "frame di saksi per pesan" }
        MemberFrames { "frames at a member for each message", "frame di anggota per pesan" }
        Throughput { "messages delivered in a second", "pesan terkirim per detik" }
        KnownHeard { "members known to have heard", "anggota yang diketahui telah mendengar" }
        KnownPresent { "members known to be there", "anggota yang diketahui hadir" }
        CaughtUp { "time to catch up, ms", "waktu untuk mengejar, ms" }
        ReceiversAxis { "receivers", "jumlah penerima" }
        WorkersAxis { "worker threads", "jumlah thread pekerja" }
        LossAxis { "datagrams lost, %", "datagram hilang, %" }
        MembersAxis { "members", "anggota" }
        QuerierAxis { "querier", "querier" }
        QuerierOn { "querier on", "querier aktif" }
        QuerierOff { "querier off", "querier mati" }
        SeriesHead { "way of sending", "cara pengiriman" }
        ExperimentHead { "experiment", "percobaan" }
        FailureHead { "why it failed", "sebab gagal" }
        Item { "what", "hal" }
        Value { "value", "nilai" }
        Supported { "supported", "didukung data" }
        NotSupported { "not supported", "tidak didukung data" }
        NotMeasured { "not measured", "tidak terukur" }
        Server { "server", "server" }
        Switch { "switch", "switch" }
        Witness { "witness", "saksi" }
        Kernel { "kernel", "kernel" }
        System { "system", "sistem operasi" }
        Processor { "processor", "prosesor" }
        Memory { "memory", "memori" }
        Gaung { "Gaung", "Gaung" }
        Tools { "programs", "program" }
        Taken { "measured at", "waktu pengukuran" }
        Rights { "rights", "hak akses" }
        AsRoot { "root", "root" }
        InUserNamespace { "a user namespace, without root", "user namespace, tanpa root" }
        FrameKind { "kind of frame", "jenis frame" }
        Frames { "frames", "frame" }
        OtherFrames { "other", "lainnya" }
    }
}

impl Label {
    /// Returns the label of a series.
    #[must_use]
    pub const fn series(series: Series) -> Self {
        match series {
            Series::Unicast => Self::Unicast,
            Series::Tcp => Self::Tcp,
            Series::Broadcast => Self::Broadcast,
            Series::Multicast => Self::Multicast,
            Series::Unrepaired => Self::Unrepaired,
            Series::OneAsleep => Self::OneAsleep,
        }
    }

    /// Returns the label of an experiment.
    #[must_use]
    pub const fn experiment(experiment: Experiment) -> Self {
        match experiment {
            Experiment::OneToMany => Self::OneToMany,
            Experiment::WhoHears => Self::WhoHears,
            Experiment::Threads => Self::Threads,
            Experiment::Loss => Self::Loss,
            Experiment::Receipts => Self::Receipts,
            Experiment::LateJoiner => Self::LateJoiner,
        }
    }

    /// Returns the label of a metric, with its unit.
    #[must_use]
    pub const fn metric(metric: Metric) -> Self {
        match metric {
            Metric::SenderBytes => Self::SenderBytes,
            Metric::SenderFrames => Self::SenderFrames,
            Metric::LastReceiver => Self::LastReceiver,
            Metric::SenderCpu => Self::SenderCpu,
            Metric::Heard => Self::Heard,
            Metric::WitnessFrames => Self::WitnessFrames,
            Metric::MemberFrames => Self::MemberFrames,
            Metric::Throughput => Self::Throughput,
            Metric::KnownHeard => Self::KnownHeard,
            Metric::KnownPresent => Self::KnownPresent,
            Metric::CaughtUp => Self::CaughtUp,
        }
    }
}
