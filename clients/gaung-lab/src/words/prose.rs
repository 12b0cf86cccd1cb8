//! The paragraphs of a report.

use super::catalogue;
use crate::samples::Experiment;

catalogue! {
    /// A paragraph.
    Prose {
        Made {
            "This report was made by `gaung lab report`. Every figure in it was measured in this run, on real sockets; every sentence of the analysis is bound to a predicate over these figures and says so where they do not bear it out.",
            "Laporan ini dibuat oleh `gaung lab report`. Setiap angka di dalamnya diukur pada percobaan ini, dengan soket sungguhan; setiap kalimat analisis terikat pada syarat atas angka-angka itu dan menyatakannya apabila data tidak mendukung.",
        }
        Partial {
            "The run was stopped before everything was measured. What is missing is missing here too, and nothing is concluded from it.",
            "Percobaan dihentikan sebelum semuanya terukur. Yang tidak terukur juga tidak ada di sini, dan tidak ada kesimpulan yang ditarik darinya.",
        }
        Quick {
            "This is a quick run with few repetitions and sizes: good for a look, not for conclusions.",
            "Ini percobaan cepat dengan sedikit pengulangan dan ukuran: cukup untuk melihat-lihat, bukan untuk menarik kesimpulan.",
        }
        IntroUnicast {
            "Unicast carries data from one sender to one receiver. Whoever wants to reach many sends as many copies.",
            "Unicast membawa data dari satu pengirim ke satu penerima. Untuk mencapai banyak penerima, pengirim harus mengirim salinan sebanyak penerimanya.",
        }
        IntroMulticast {
            "Multicast is one to many: the sender transmits once to a group address of 224.0.0.0 to 239.255.255.255, and the network copies it to those who joined the group (IGMP). It is like an invitation read out in a classroom: said once, heard by all who belong there.",
            "Multicast bersifat satu ke banyak (one-to-many): pengirim memancarkan satu kali ke alamat grup antara 224.0.0.0 dan 239.255.255.255, lalu jaringan menggandakannya untuk mereka yang bergabung dengan grup (IGMP). Ibarat undangan yang dibacakan di depan kelas: disampaikan satu kali, didengar oleh semua anggota kelas.",
        }
        IntroBroadcast {
            "Broadcast is one to all: the sender transmits once to the last address of its network, and every host there gets it, whether it wants it or not. It is like leaflets strewn in the street: nobody tells whether they were read.",
            "Broadcast bersifat satu ke semua (one-to-all): pengirim memancarkan satu kali ke alamat terakhir dari jaringannya, dan setiap host di sana menerimanya, diinginkan ataupun tidak. Ibarat selebaran yang disebar di jalan: tidak ada yang memberi tahu apakah selebaran itu dibaca.",
        }
        WayRelay {
            "The client hands its message to the relay, which gives it a number, appends it to the group's log, and sends it once by multicast. Members that miss a number ask for it (NAK) and get it again, so that all have the same messages in the same order.",
            "Client menyerahkan pesannya kepada relay. Relay memberinya nomor urut, menambahkannya ke log grup, lalu memancarkannya satu kali dengan multicast. Anggota yang kehilangan sebuah nomor memintanya kembali (NAK) dan menerimanya lagi, sehingga semua anggota memiliki pesan yang sama dengan urutan yang sama.",
        }
        WayHub {
            "The hub follows the same log and writes it to every TCP session; messages to everyone it also sends by UDP broadcast, without repair and without receipts.",
            "Hub mengikuti log yang sama dan menuliskannya ke setiap sesi TCP; pesan untuk semua orang juga dipancarkannya dengan broadcast UDP, tanpa perbaikan dan tanpa tanda terima.",
        }
        WayThreads {
            "Both are multithreaded: each worker of the relay owns some groups, each worker of the hub owns some sessions, and none waits for another.",
            "Keduanya bersifat multithread: setiap thread pekerja relay menangani sebagian grup, setiap thread pekerja hub menangani sebagian sesi, dan tidak ada yang saling menunggu.",
        }
        WayReceipts {
            "Members tell how far they have heard (by STATUS datagrams or acknowledgements); from that the sender gets receipts, such as heard by 3 of 4.",
            "Anggota melaporkan sampai mana mereka mendengar (lewat datagram STATUS atau konfirmasi); dari situ pengirim memperoleh tanda terima, misalnya didengar oleh 3 dari 4.",
        }
        MethodNetwork {
            "Each host is a network namespace with its own interface, addresses and sockets, joined by a cable (veth) to one switch (a bridge with IGMP snooping). The services run on the server; the witness joins no group. All hosts have the machine's kernel, cores and clock in common, so that times on different hosts compare, and processor time is shared.",
            "Setiap host adalah sebuah network namespace dengan antarmuka, alamat, dan soketnya sendiri, yang dihubungkan kabel (veth) ke satu switch (bridge dengan IGMP snooping). Layanan berjalan di server; saksi tidak bergabung dengan grup mana pun. Semua host berbagi kernel, inti prosesor, dan jam mesin ini, sehingga waktu di host yang berbeda dapat dibandingkan, tetapi waktu prosesor juga harus dibagi.",
        }
        MethodWays {
            "Unicast is a plain UDP program that sends each datagram to each receiver in turn. TCP is the hub's fan-out, broadcast the hub's UDP broadcast, multicast the relay's group, all of the same running services (log in memory). Receivers are processes of Gaung's own client library, for unicast plain UDP sockets.",
            "Unicast adalah program UDP sederhana yang mengirim setiap datagram kepada penerima satu per satu. TCP adalah penyebaran oleh hub, broadcast adalah broadcast UDP oleh hub, dan multicast adalah grup milik relay, semuanya dari layanan yang sama (log di memori). Penerima adalah proses dengan pustaka client Gaung, sedangkan untuk unicast soket UDP biasa.",
        }
        MethodMeasure {
            "Bytes and frames are the server interface's counters before and after a burst, Ethernet headers included. Time runs from before the first message until the last receiver has its last one. Processor time is that of the process that sends (the services; for unicast the plain sender). A burst has {0} messages of {1} bytes, the one with losses {2}; everything is measured {3} times. Before the bursts to one and to many, and before the streams of the workers, there is a run that is not counted. Shown are medians, and in parentheses or as thin lines the middle half.",
            "Byte dan frame adalah selisih pencacah antarmuka server sebelum dan sesudah satu rentetan pesan, termasuk header Ethernet. Waktu dihitung dari sebelum pesan pertama sampai penerima terakhir mendapat pesan terakhirnya. Waktu CPU adalah milik proses yang mengirim (layanan; pada unicast program pengirimnya). Satu rentetan berisi {0} pesan berukuran {1} byte, pada percobaan kehilangan {2} pesan; semuanya diukur {3} kali. Sebelum rentetan ke satu dan banyak penerima, serta sebelum percobaan jumlah thread, ada satu putaran yang tidak dihitung. Yang ditampilkan adalah median; separuh data yang di tengah ditunjukkan dalam tanda kurung atau sebagai garis tipis.",
        }
        MethodLoss {
            "Losses are made by nftables at each receiver, independent of the others. Frames are not joined by offloads (gso_max_segs 1), so that one frame is one datagram or segment.",
            "Kehilangan dibuat oleh nftables di setiap penerima, tidak bergantung pada penerima lain. Frame tidak digabung oleh offload (gso_max_segs 1), sehingga satu frame adalah satu datagram atau segmen.",
        }
        AboutOneToMany {
            "The same burst goes to more and more receivers by each way of sending.",
            "Rentetan pesan yang sama dikirim ke makin banyak penerima dengan setiap cara pengiriman.",
        }
        AboutWhoHears {
            "One member listens; the frames that reach the witness, which asked for none, are counted.",
            "Satu anggota mendengarkan; frame yang sampai ke saksi, yang tidak meminta apa pun, dihitung.",
        }
        AboutThreads {
            "Four groups with a publisher and two TCP sessions each, as fast as they can, with different numbers of worker threads in the services.",
            "Empat grup, masing-masing dengan satu pengirim dan dua sesi TCP, secepat mungkin, dengan jumlah thread pekerja layanan yang berbeda.",
        }
        AboutLoss {
            "Four members lose datagrams at random. The group with repair is Gaung's own; the one without is a group of bare text, in which a datagram is exactly the text.",
            "Empat anggota kehilangan datagram secara acak. Grup dengan perbaikan adalah grup Gaung biasa; yang tanpa perbaikan adalah grup teks polos, tempat satu datagram persis berisi teksnya.",
        }
        AboutReceipts {
            "Four receivers hear ten messages; then the sender asks who has heard. In the last row one of them is asleep (SIGSTOP). A plain unicast UDP sender learns nothing and is not shown.",
            "Empat penerima mendengar sepuluh pesan; lalu pengirim bertanya siapa yang sudah mendengar. Pada baris terakhir, satu penerima tertidur (SIGSTOP). Pengirim unicast UDP biasa tidak mengetahui apa-apa dan tidak ditampilkan.",
        }
        AboutLateJoiner {
            "The messages are sent before the receiver is started.",
            "Pesan-pesan sudah dikirim sebelum penerimanya dijalankan.",
        }
        FourClients {
            "The task of serving four clients is the experiment with receipts: four clients at the same time, in every mode. Of their messages they heard: {0} by multicast, {1} by TCP, {2} by broadcast. To try it by hand:",
            "Tugas melayani empat koneksi terjawab oleh percobaan tanda terima: empat client sekaligus, dalam setiap mode. Pesan yang mereka dengar: {0} lewat multicast, {1} lewat TCP, {2} lewat broadcast. Untuk mencobanya sendiri:",
        }
        FourClientsMissing {
            "The experiment with four clients was not made in this run. To try it by hand:",
            "Percobaan dengan empat client tidak dilakukan kali ini. Untuk mencobanya sendiri:",
        }
        Conclusion {
            "Of {0} expectations: {1} supported by what was measured, {2} not supported, {3} not measured.",
            "Dari {0} dugaan, {1} didukung oleh hasil pengukuran, {2} tidak didukung, dan {3} tidak terukur.",
        }
        ConclusionNot {
            "Not supported:",
            "Yang tidak didukung:",
        }
        Capture {
            "capture.pcap holds a short conversation of three messages to two receivers by each way, as it passed the server's interface. Wireshark reads it with deploy/wireshark/gaung.lua.",
            "capture.pcap berisi percakapan singkat, tiga pesan untuk dua penerima dengan setiap cara, seperti yang melewati antarmuka server. Wireshark membacanya dengan deploy/wireshark/gaung.lua.",
        }
        NoCapture {
            "No capture was made.",
            "Rekaman paket tidak dibuat.",
        }
        Repeat {
            "All samples stand in samples.csv, one value a line. From a clone of the project to this report:",
            "Semua data ada di samples.csv, satu nilai per baris. Dari salinan proyek sampai laporan ini:",
        }
        RepeatSingle {
            "One experiment alone, and a network to try things by hand:",
            "Satu percobaan saja, dan jaringan untuk mencoba sendiri:",
        }
        Failed {
            "These experiments failed:",
            "Percobaan berikut gagal:",
        }
        FigureTopology {
            "The server with registry, relay and hub, the members, and the witness on one switch.",
            "Server dengan registry, relay, dan hub, para anggota, serta saksi pada satu switch.",
        }
    }
}

impl Prose {
    /// Returns the description of an experiment.
    #[must_use]
    pub const fn about(experiment: Experiment) -> Self {
        match experiment {
            Experiment::OneToMany => Self::AboutOneToMany,
            Experiment::WhoHears => Self::AboutWhoHears,
            Experiment::Threads => Self::AboutThreads,
            Experiment::Loss => Self::AboutLoss,
            Experiment::Receipts => Self::AboutReceipts,
            Experiment::LateJoiner => Self::AboutLateJoiner,
        }
    }
}
