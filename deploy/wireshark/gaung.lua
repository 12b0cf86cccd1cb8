-- Wireshark dissector of Gaung: its datagrams, discovery, and the hub's TCP. proto/gaung/WIRE.md describes every byte.
-- Wireshark loads it from its personal plugin folder (Help, About Wireshark, Folders), or by
--   wireshark -X lua_script:gaung.lua
-- What is encrypted is read with the clients' keys: run them with SSLKEYLOGFILE=keys.log, and Wireshark with
--   -o tls.keylog_file:keys.log
-- Filters: gaung, gaung.type == 3, gaung.repair == 1, gaung.message.text contains "halo", gaung_tcp, gaung_discovery.

local VERSION = 1
local HEADER = 40
local BODY = 1280
local ITEM_HEADER = 8
local RUN_HEADER = 44
local RELAY_PORT, HUB_PORT, BROADCAST_PORT, DISCOVERY_PORT = 7402, 7404, 7405, 7406

local TYPES = {
    [1] = "DATA", [2] = "HEARTBEAT", [3] = "NAK", [4] = "NCF", [5] = "STATUS", [6] = "PARITY", [7] = "PROBE",
    [8] = "MIGRATE", [9] = "PUBLISH", [10] = "PUBACK", [11] = "BROADCAST",
}
local CONTENTS = {
    [1] = "text", [2] = "reply", [3] = "edit", [4] = "delete", [5] = "react", [6] = "join", [7] = "leave",
    [8] = "attest", [9] = "moderate",
}
local OUTCOMES = {
    [0] = "logged and durable", [1] = "send again with this cookie", [2] = "no such group here", [3] = "refused",
    [4] = "cannot be logged now", [5] = "client_seq is too old",
}
local CLIENT_FRAMES = { "Hello", "Subscribe", "Unsubscribe", "Publish", "Ack", "Ping", "Renew", "Prove" }
local SERVER_FRAMES =
    { "Welcome", "Subscribed", "Published", "Receipt", "Gap", "Error", "Bye", "Pong", "Unsubscribed" }
-- Content types of TLS records (RFC 8446, section 5.1), which begin nothing of Gaung's.
local TLS_RECORD_FIRST, TLS_RECORD_LAST = 0x14, 0x17
local KINDS = { [0] = "any", [1] = "registry", [2] = "relay", [3] = "hub" }

local gaung = Proto("gaung", "Gaung datagram")
local gaung_tcp = Proto("gaung_tcp", "Gaung over TCP")
local gaung_discovery = Proto("gaung_discovery", "Gaung discovery")

local f = {
    version = ProtoField.uint8("gaung.version", "Version"),
    type = ProtoField.uint8("gaung.type", "Type", base.DEC, TYPES),
    flags = ProtoField.uint8("gaung.flags", "Flags", base.HEX),
    repair = ProtoField.bool("gaung.repair", "Sent before", 8, nil, 0x01),
    response = ProtoField.bool("gaung.response", "Answer", 8, nil, 0x02),
    suite = ProtoField.uint8("gaung.suite", "Suite"),
    length = ProtoField.uint16("gaung.length", "Length of the body"),
    padding = ProtoField.bytes("gaung.padding", "Padding"),
    tag = ProtoField.uint64("gaung.tag", "Group tag", base.HEX),
    epoch = ProtoField.uint32("gaung.epoch", "Epoch"),
    pkt = ProtoField.uint32("gaung.pkt", "Packet number"),
    seq = ProtoField.uint64("gaung.seq", "Seq"),
    frag_idx = ProtoField.uint16("gaung.frag_idx", "Fragment"),
    frag_cnt = ProtoField.uint16("gaung.frag_cnt", "Fragments"),
    ts = ProtoField.uint32("gaung.ts_us", "Sender's clock, µs"),
    original_pkt = ProtoField.uint32("gaung.original_pkt", "First sent as packet"),
    fragment = ProtoField.bytes("gaung.fragment", "Piece of a block"),
    sender = ProtoField.bytes("gaung.sender", "Sender"),
    cookie = ProtoField.uint64("gaung.cookie", "Cookie", base.HEX),
    nonce = ProtoField.uint64("gaung.nonce", "Nonce", base.HEX),
    device = ProtoField.bytes("gaung.device", "Device"),
    client = ProtoField.bytes("gaung.client", "Client"),
    client_seq = ProtoField.uint64("gaung.client_seq", "Client's count"),
    group = ProtoField.guid("gaung.group", "Group"),
    log = ProtoField.uint64("gaung.log", "Log", base.HEX),
    oldest_repairable = ProtoField.uint64("gaung.oldest_repairable", "Oldest that can be repaired"),
    oldest_logged = ProtoField.uint64("gaung.oldest_logged", "Oldest in the log"),
    epoch_start = ProtoField.uint64("gaung.epoch_start", "First of this epoch"),
    last_pkt = ProtoField.uint32("gaung.last_pkt", "Last packet of DATA"),
    grtt = ProtoField.uint32("gaung.grtt_us", "Greatest round trip, µs"),
    group_size = ProtoField.uint32("gaung.group_size", "Members"),
    generation = ProtoField.uint32("gaung.generation", "Generation of the address"),
    range = ProtoField.none("gaung.range", "Missing"),
    first_seq = ProtoField.uint64("gaung.range.first_seq", "First"),
    last_seq = ProtoField.uint64("gaung.range.last_seq", "Last"),
    first_frag = ProtoField.uint16("gaung.range.first_frag", "First fragment"),
    last_frag = ProtoField.uint16("gaung.range.last_frag", "Last fragment"),
    highest_pkt = ProtoField.uint32("gaung.highest_pkt", "Highest packet"),
    received = ProtoField.uint32("gaung.received", "Received"),
    lost = ProtoField.uint32("gaung.lost", "Lost"),
    repaired = ProtoField.uint32("gaung.repaired", "Repaired"),
    echo_ts = ProtoField.uint32("gaung.echo_ts_us", "Relay's clock, echoed, µs"),
    echo_delay = ProtoField.uint32("gaung.echo_delay_us", "Heard before, µs"),
    first_pkt = ProtoField.uint32("gaung.parity.first_pkt", "First packet of the block"),
    k = ProtoField.uint8("gaung.parity.k", "Packets in the block"),
    r = ProtoField.uint8("gaung.parity.r", "Shards"),
    index = ProtoField.uint8("gaung.parity.index", "Shard"),
    shard = ProtoField.bytes("gaung.parity.shard", "Reed-Solomon shard"),
    address = ProtoField.ipv4("gaung.address", "Address"),
    port = ProtoField.uint16("gaung.port", "Port"),
    outcome = ProtoField.uint8("gaung.outcome", "Outcome", base.DEC, OUTCOMES),
    base_time = ProtoField.uint64("gaung.base_time_us", "Time of the first, µs since 1970"),
    count = ProtoField.uint16("gaung.count", "Count"),
    author_count = ProtoField.uint16("gaung.author_count", "Authors"),
    author = ProtoField.none("gaung.author", "Author"),
    message = ProtoField.none("gaung.message", "Message"),
    author_index = ProtoField.uint16("gaung.message.author", "Author"),
    content = ProtoField.uint8("gaung.message.content", "Content", base.DEC, CONTENTS),
    message_flags = ProtoField.uint8("gaung.message.flags", "Flags", base.HEX),
    sent_at = ProtoField.uint32("gaung.message.sent_at_us", "After the first, µs"),
    payload_length = ProtoField.uint32("gaung.message.length", "Length of the payload"),
    payload = ProtoField.bytes("gaung.message.payload", "Payload"),
    author_name = ProtoField.string("gaung.message.author_name", "Author's name"),
    text = ProtoField.string("gaung.message.text", "Text"),
    reserved = ProtoField.bytes("gaung.reserved", "Reserved"),
}
gaung.fields = f

local t = {
    magic = ProtoField.string("gaung_tcp.magic", "Item"),
    version = ProtoField.uint8("gaung_tcp.version", "Version"),
    flags = ProtoField.uint8("gaung_tcp.flags", "Flags", base.HEX),
    length = ProtoField.uint32("gaung_tcp.length", "Length of the item"),
    frame = ProtoField.string("gaung_tcp.frame", "Frame"),
    base_seq = ProtoField.uint64("gaung_tcp.base_seq", "Seq of the first message"),
    epoch = ProtoField.uint32("gaung_tcp.epoch", "Epoch"),
    group = ProtoField.guid("gaung_tcp.group", "Group"),
    log = ProtoField.uint64("gaung_tcp.log", "Log", base.HEX),
}
gaung_tcp.fields = t

local d = {
    type = ProtoField.uint8("gaung_discovery.type", "Type", base.DEC, { [1] = "question", [2] = "answer" }),
    nonce = ProtoField.uint64("gaung_discovery.nonce", "Nonce", base.HEX),
    kind = ProtoField.uint8("gaung_discovery.kind", "Service", base.DEC, KINDS),
    port = ProtoField.uint16("gaung_discovery.port", "gRPC port"),
    address = ProtoField.ipv4("gaung_discovery.address", "Advertised address"),
    service = ProtoField.bytes("gaung_discovery.service", "Service id"),
    name = ProtoField.string("gaung_discovery.name", "Name"),
    version = ProtoField.uint8("gaung_discovery.version", "Version"),
    site = ProtoField.bytes("gaung_discovery.site", "Site"),
    instance = ProtoField.uint64("gaung_discovery.instance", "Instance", base.HEX),
}
gaung_discovery.fields = d

local cut_short = ProtoExpert.new("gaung.cut_short", "Cut short", expert.group.MALFORMED, expert.severity.ERROR)
gaung.experts = { cut_short }

-- A reader of fields, one after the other, that never leaves its bytes.
local Reader = {}
Reader.__index = Reader

local function reader(tvb, tree)
    return setmetatable({ tvb = tvb, tree = tree, at = 0 }, Reader)
end

function Reader:left()
    return self.tvb:len() - self.at
end

-- The next bytes, at most as many as there are.
function Reader:take(length)
    if length > self:left() then
        self.tree:add_proto_expert_info(cut_short)
        length = self:left()
    end
    local range = self.tvb(self.at, length)
    self.at = self.at + length
    return range
end

-- Shows the next bytes as a field; nil where there are too few.
function Reader:field(field, length)
    if length == 0 or length > self:left() then
        if length > 0 then self.tree:add_proto_expert_info(cut_short) end
        return nil
    end
    local range = self:take(length)
    self.tree:add(field, range)
    return range
end

function Reader:number(field, length)
    local range = self:field(field, length)
    return range and range:uint()
end

-- A protobuf varint at `at` of a string, and what follows it.
local function varint(bytes, at)
    local value, factor = 0, 1
    while at <= #bytes do
        local byte = bytes:byte(at)
        value = value + (byte % 128) * factor
        at = at + 1
        if byte < 128 then return value, at end
        factor = factor * 128
    end
end

-- The bytes of the first field of this number that holds bytes; nil where there is none.
local function protobuf_bytes(bytes, wanted)
    local at = 1
    while at and at <= #bytes do
        local key
        key, at = varint(bytes, at)
        if not key then return nil end
        local wire_type = key % 8
        if wire_type == 2 then
            local length
            length, at = varint(bytes, at)
            if not length then return nil end
            if math.floor(key / 8) == wanted then return bytes:sub(at, at + length - 1) end
            at = at + length
        elseif wire_type == 0 then
            local _
            _, at = varint(bytes, at)
        elseif wire_type == 1 then
            at = at + 8
        elseif wire_type == 5 then
            at = at + 4
        else
            return nil
        end
    end
end

-- What a payload of the kind text says (message/v1/message.proto); a hint for people, so unknown kinds give nothing.
local function show_content(tree, range, content)
    if content ~= 1 then return nil end
    local bytes = range:raw()
    local name, text = protobuf_bytes(bytes, 1), protobuf_bytes(bytes, 2)
    if name then tree:add(f.author_name, range, name) end
    text = text and protobuf_bytes(text, 1)
    if text then tree:add(f.text, range, text) end
    return text
end

local function show_payload(r, length, content)
    if length == 0 then return nil end
    local range = r:field(f.payload, math.min(length, math.max(r:left(), 1)))
    return range and show_content(r.tree, range, content)
end

local function show_message(r, seq)
    if r:left() < 20 then
        r:take(20)
        return nil
    end
    local length = r.tvb(r.at + 16, 4):uint()
    local range = r.tvb(r.at, math.min(20 + length, r:left()))
    local tree = r.tree:add(f.message, range)
    tree:set_text("Message " .. tostring(seq))
    local inner = reader(range, tree)
    inner:field(f.author_index, 2)
    local content = inner:number(f.content, 1)
    inner:field(f.message_flags, 1)
    inner:field(f.client_seq, 8)
    inner:field(f.sent_at, 4)
    inner:field(f.payload_length, 4)
    local text = show_payload(inner, length, content)
    if text then tree:append_text(": " .. text) end
    r.at = r.at + range:len()
    return true
end

-- WIRE.md, section 2. `seq`: of the first message, a UInt64. Gives how many messages there are.
local function show_block(r, seq)
    r:field(f.base_time, 8)
    local count = r:number(f.count, 2) or 0
    local authors = r:number(f.author_count, 2) or 0
    for number = 0, authors - 1 do
        if r:left() < 32 then break end
        local range = r:take(32)
        local tree = r.tree:add(f.author, range)
        tree:set_text("Author " .. number)
        tree:add(f.device, range(0, 16))
        tree:add(f.client, range(16, 16))
    end
    for number = 0, count - 1 do
        if not show_message(r, seq + number) then break end
    end
    return count
end

local function show_block_or_fragment(r, header)
    if header.frag_cnt > 1 then
        r:field(f.fragment, r:left())
        return string.format(", piece %d of %d", header.frag_idx + 1, header.frag_cnt)
    end
    local count = show_block(r, header.seq)
    return count > 1 and string.format(", %d messages", count) or ""
end

local function show_ranges(r)
    local count = r:number(f.count, 2) or 0
    local told = {}
    for _ = 1, count do
        if r:left() < 20 then
            r:take(20)
            break
        end
        local range = r:take(20)
        local tree = r.tree:add(f.range, range)
        tree:add(f.first_seq, range(0, 8))
        tree:add(f.last_seq, range(8, 8))
        tree:add(f.first_frag, range(16, 2))
        tree:add(f.last_frag, range(18, 2))
        local first, last = tostring(range(0, 8):uint64()), tostring(range(8, 8):uint64())
        local words = first == last and first or first .. "–" .. last
        tree:set_text("Missing " .. words)
        table.insert(told, words)
    end
    return " " .. table.concat(told, ", ")
end

-- One function for each type: shows the body, and gives what stands behind the type in the list.
local BODIES = {
    [1] = function(r, header)
        if header.repair then r:field(f.original_pkt, 4) end
        return show_block_or_fragment(r, header)
    end,
    [2] = function(r)
        r:field(f.group, 16)
        r:field(f.log, 8)
        r:field(f.oldest_repairable, 8)
        r:field(f.oldest_logged, 8)
        r:field(f.epoch_start, 8)
        r:field(f.last_pkt, 4)
        local grtt = r:number(f.grtt, 4) or 0
        local members = r:number(f.group_size, 4) or 0
        r:field(f.generation, 4)
        return string.format(", %d members, round trip %d µs", members, grtt)
    end,
    [3] = function(r)
        r:field(f.sender, 16)
        r:field(f.cookie, 8)
        return show_ranges(r)
    end,
    [4] = show_ranges,
    [5] = function(r)
        r:field(f.sender, 16)
        r:field(f.cookie, 8)
        r:field(f.device, 16)
        r:field(f.highest_pkt, 4)
        local received = r:number(f.received, 4) or 0
        local lost = r:number(f.lost, 4) or 0
        r:field(f.repaired, 4)
        r:field(f.echo_ts, 4)
        r:field(f.echo_delay, 4)
        return string.format(", received %d, lost %d", received, lost)
    end,
    [6] = function(r)
        local first = r:number(f.first_pkt, 4) or 0
        local k = r:number(f.k, 1) or 0
        r:field(f.r, 1)
        r:field(f.index, 1)
        r:field(f.reserved, 1)
        r:field(f.shard, r:left())
        return string.format(" for packets %d–%d", first, first + k - 1)
    end,
    [7] = function(r, header)
        r:field(f.sender, 16)
        r:field(f.nonce, 8)
        r:field(f.cookie, 8)
        return header.response and " answer" or ""
    end,
    [8] = function(r)
        r:field(f.group, 16)
        r:field(f.log, 8)
        r:field(f.generation, 4)
        local address = r:field(f.address, 4)
        local port = r:number(f.port, 2) or 0
        return address and string.format(" to %s:%d", tostring(address:ipv4()), port) or ""
    end,
    [9] = function(r)
        r:field(f.sender, 16)
        r:field(f.cookie, 8)
        r:field(f.device, 16)
        local content = r:number(f.content, 1)
        r:field(f.reserved, 3)
        show_payload(r, r:left(), content)
        return ""
    end,
    [10] = function(r)
        r:field(f.client, 16)
        r:field(f.client_seq, 8)
        r:field(f.cookie, 8)
        local outcome = r:number(f.outcome, 1)
        return outcome and ": " .. (OUTCOMES[outcome] or outcome) or ""
    end,
    [11] = function(r, header)
        r:field(f.sender, 16)
        return show_block_or_fragment(r, header)
    end,
}

-- Of one datagram, or nil: not ours.
local function header_of(tvb, at)
    if tvb:len() - at < HEADER or tvb(at, 2):string() ~= "GA" or tvb(at + 2, 1):uint() ~= VERSION then return nil end
    local flags, length = tvb(at + 4, 1):uint(), tvb(at + 6, 2):uint()
    if not TYPES[tvb(at + 3, 1):uint()] or length > BODY or at + HEADER + length > tvb:len() then return nil end
    return {
        type = tvb(at + 3, 1):uint(),
        repair = flags % 2 == 1,
        response = math.floor(flags / 2) % 2 == 1,
        length = length,
        seq = tvb(at + 24, 8):uint64(),
        frag_idx = tvb(at + 32, 2):uint(),
        frag_cnt = tvb(at + 34, 2):uint(),
    }
end

local function show_header(r)
    r:take(2)
    r:field(f.version, 1)
    r:field(f.type, 1)
    local flags = r:take(1)
    local tree = r.tree:add(f.flags, flags)
    tree:add(f.repair, flags)
    tree:add(f.response, flags)
    r:field(f.suite, 1)
    r:field(f.length, 2)
    r:field(f.tag, 8)
    r:field(f.epoch, 4)
    r:field(f.pkt, 4)
    r:field(f.seq, 8)
    r:field(f.frag_idx, 2)
    r:field(f.frag_cnt, 2)
    r:field(f.ts, 4)
end

-- How many bytes of zero follow a datagram, which makes several equally long.
local function padding_at(tvb, at)
    local length = 0
    while at + length < tvb:len() and tvb(at + length, 1):uint() == 0 do length = length + 1 end
    return length
end

-- A send that the kernel cuts (UDP GSO) is captured as one packet of several datagrams.
function gaung.dissector(tvb, pinfo, root)
    local at, told = 0, {}
    while at < tvb:len() do
        local header = header_of(tvb, at)
        if not header then break end
        local length = HEADER + header.length
        local padding = padding_at(tvb, at + length)
        local range = tvb(at, length + padding)
        local name = (header.repair and "repair of " or "") .. TYPES[header.type]
        local tree = root:add(gaung, range)
        local r = reader(tvb(at, length), tree)
        show_header(r)
        local more = BODIES[header.type](r, header)
        if padding > 0 then tree:add(f.padding, tvb(at + length, padding)) end
        local line = name .. (header.seq == UInt64(0) and "" or " " .. tostring(header.seq)) .. more
        tree:set_text("Gaung " .. line)
        table.insert(told, line)
        at = at + range:len()
    end
    if at == 0 then return 0 end
    pinfo.cols.protocol = "Gaung"
    pinfo.cols.info = table.concat(told, "; ")
    return at
end

function gaung_discovery.dissector(tvb, pinfo, root)
    if tvb:len() ~= 128 or tvb(0, 2):string() ~= "GD" then return 0 end
    local version = tvb(2, 1):uint()
    if version ~= 1 and version ~= 2 then return 0 end
    local tree = root:add(gaung_discovery, tvb())
    tree:add(d.version, tvb(2, 1))
    tree:add(d.type, tvb(3, 1))
    tree:add(d.nonce, tvb(4, 8))
    tree:add(d.kind, tvb(12, 1))
    local length = math.min(tvb(13, 1):uint(), 64)
    tree:add(d.port, tvb(14, 2))
    tree:add(d.address, tvb(16, 4))
    tree:add(d.service, tvb(20, 16))
    if length > 0 then tree:add(d.name, tvb(36, length)) end
    if version == 2 then tree:add(d.site, tvb(100, 16)) end
    tree:add(d.instance, tvb(version == 2 and 116 or 100, 8))
    local kind = KINDS[tvb(12, 1):uint()] or "service"
    pinfo.cols.protocol = "Gaung"
    local words = tvb(3, 1):uint() == 1 and "who serves here?" or kind .. " at port " .. tvb(14, 2):uint()
    pinfo.cols.info = "discovery: " .. words
    return 128
end

local function item_length(tvb, _, at)
    local magic = tvb(at, 2):string()
    -- What is not ours ends the search for items: all of it is one.
    if magic ~= "GF" and magic ~= "GR" then return tvb:len() - at end
    return math.max(tvb(at + 4, 4):uint(), ITEM_HEADER)
end

local function show_item_header(tvb, tree)
    tree:add(t.magic, tvb(0, 2))
    tree:add(t.version, tvb(2, 1))
    tree:add(t.flags, tvb(3, 1))
    tree:add(t.length, tvb(4, 4))
end

-- WIRE.md, section 3.
local function show_run(tvb, tree)
    tree:add(t.group, tvb(8, 16))
    tree:add(t.log, tvb(24, 8))
    tree:add(t.epoch, tvb(32, 4))
    tree:add(t.base_seq, tvb(36, 8))
    local seq = tvb(36, 8):uint64()
    local count = show_block(reader(tvb(RUN_HEADER), tree), seq)
    return string.format("run from %s, %d messages", tostring(seq), count)
end

-- A protobuf with one field, whose number tells the frame (hub/v1/hub.proto).
local function show_frame(tvb, tree, pinfo)
    local from_client = pinfo.dst_port == pinfo.match_uint
    local names, message = SERVER_FRAMES, "gaung.hub.v1.ServerFrame"
    if from_client then
        names, message = CLIENT_FRAMES, "gaung.hub.v1.ClientFrame"
    end
    if tvb:len() <= ITEM_HEADER then return "empty frame" end
    local name = names[math.floor(tvb(ITEM_HEADER, 1):uint() / 8)] or "unknown frame"
    tree:add(t.frame, tvb(ITEM_HEADER, 1), name)
    -- With the schemas in Wireshark's protobuf search paths, the fields have names.
    pinfo.private["pb_msg_type"] = "message," .. message
    Dissector.get("protobuf"):call(tvb(ITEM_HEADER):tvb(), pinfo, tree)
    return name
end

local function show_item(tvb, pinfo, root)
    local tree = root:add(gaung_tcp, tvb())
    local magic = tvb(0, 2):string()
    local told = "not of Gaung"
    if magic == "GR" and tvb:len() > RUN_HEADER then
        show_item_header(tvb, tree)
        told = show_run(tvb, tree)
    elseif magic == "GF" then
        show_item_header(tvb, tree)
        told = show_frame(tvb, tree, pinfo)
    end
    tree:set_text("Gaung " .. told)
    pinfo.cols.protocol = "Gaung"
    pinfo.cols.info:append((pinfo.private["gaung_items"] and "; " or "") .. told)
    pinfo.private["gaung_items"] = "1"
    return tvb:len()
end

function gaung_tcp.dissector(tvb, pinfo, root)
    local first = tvb(0, 1):uint()
    if first >= TLS_RECORD_FIRST and first <= TLS_RECORD_LAST then
        -- What it decrypts comes back here, by its own table of ports. Wireshark lets only the dissector that TCP called ask
        -- for more segments, and lowers this count with each call; a TLS record may be longer than one segment.
        pinfo.can_desegment = 2
        return Dissector.get("tls"):call(tvb, pinfo, root)
    end
    pinfo.cols.info = ""
    pinfo.private["gaung_items"] = nil
    dissect_tcp_pdus(tvb, root, ITEM_HEADER, item_length, show_item)
    return tvb:len()
end

-- Groups have a port each, from 20000 on, so datagrams are known by how they begin.
gaung:register_heuristic("udp", function(tvb, pinfo, root)
    if not header_of(tvb, 0) then return false end
    return gaung.dissector(tvb, pinfo, root) > 0
end)

local udp = DissectorTable.get("udp.port")
udp:add(RELAY_PORT, gaung)
udp:add(BROADCAST_PORT, gaung)
udp:add(DISCOVERY_PORT, gaung_discovery)
DissectorTable.get("tcp.port"):add(HUB_PORT, gaung_tcp)
DissectorTable.get("tls.port"):add(HUB_PORT, gaung_tcp)
