-- Wireshark dissector of the remote memory protocol of rmemrun (docs/protocol.md), and of
-- ATM cells that were captured with their HEC (link type USER0).
--
--   rmemrun capture --lua > ~/.local/lib/wireshark/plugins/rmem.lua      for all files
--   tshark -X lua_script:rmem.lua -r FILE                                for one
--
-- Which adaptation layer a cell has cannot be seen in it. The protocol fixes it:
--
--   last cell of a PDU (PT bit 0), or odd VCI   AAL5; what it says is shown at the PDU, which follows
--   even VCI                                    AAL3/4, single segment messages
--
-- Control circuits have even VCIs too, but each of their messages is one cell with PT bit 0.

local rmem = Proto("rmem", "Remote Memory Operation")
local cell = Proto("rmemcell", "ATM Cell with HEC")

local OPS = {
  [1] = "write", [2] = "write", [3] = "read", [4] = "cas", [5] = "fadd", [6] = "swap", [7] = "notify",
  [8] = "ack", [9] = "data", [10] = "old", [11] = "connect", [12] = "reply", [13] = "disconnect",
  [14] = "have",
}
local WRITE, WRITE_SHORT, READ, CAS, FADD, SWAP, NOTIFY, ACK, DATA, OLD, CONNECT, REPLY, DISCONNECT, HAVE =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14

local STATUS = {
  [0] = "OK", [1] = "EDESC", [2] = "EPERM", [3] = "ERANGE", [4] = "EALIGN", [5] = "ESTALE", [6] = "EINHIBIT", [7] = "EFAULT",
  [8] = "EINVAL", [9] = "ENOENT", [10] = "EEXIST", [11] = "EDOWN", [12] = "ETIMEDOUT", [13] = "ENOSPC",
}

local VERSION = 2 -- of the protocol

local RIGHTS = { { 1, "read" }, { 2, "write" }, { 4, "atomic" }, { 8, "no notifications" } }

local SEGMENTS = { [0] = "COM", [1] = "EOM", [2] = "BOM", [3] = "SSM" }

local f = {
  st = ProtoField.uint16("rmem.st", "Segment type", base.DEC, SEGMENTS, 0xc000),
  sn = ProtoField.uint16("rmem.sn", "Sequence number (SN)", base.DEC, nil, 0x3c00),
  mid = ProtoField.uint16("rmem.mid", "Multiplexing identifier (MID)", base.DEC, nil, 0x03ff),
  li = ProtoField.uint16("rmem.li", "Length indication (LI)", base.DEC, nil, 0xfc00),
  crc10 = ProtoField.uint16("rmem.crc10", "CRC-10", base.HEX, nil, 0x03ff),
  crc10_status = ProtoField.string("rmem.crc10.status", "CRC-10 status"),
  seq = ProtoField.uint16("rmem.seq", "Sequence"),
  op = ProtoField.uint32("rmem.op", "Operation", base.DEC, OPS, 0xf0000000),
  notify = ProtoField.bool("rmem.notify", "Notify", 32, nil, 0x08000000),
  offset = ProtoField.uint64("rmem.offset", "Offset"),
  status = ProtoField.uint32("rmem.status", "Status", base.DEC, STATUS, 0x07f80000),
  key = ProtoField.uint32("rmem.key", "Key", base.HEX),
  data_key = ProtoField.uint32("rmem.datakey", "Key, low bits", base.HEX, nil, 0x0fffffff),
  length = ProtoField.uint64("rmem.length", "Length"),
  expected = ProtoField.uint64("rmem.expected", "Expected", base.HEX),
  operand = ProtoField.uint64("rmem.operand", "Operand", base.HEX),
  requests = ProtoField.uint32("rmem.credit.requests", "Requests that may be unanswered"),
  kib = ProtoField.uint32("rmem.credit.kib", "KiB of blocks that they may carry and ask for"),
  position = ProtoField.uint32("rmem.position", "Position in the block"),
  version = ProtoField.uint32("rmem.version", "Version of the protocol"),
  next = ProtoField.uint32("rmem.next", "Next request that is missing"),
  have = ProtoField.uint64("rmem.have", "Later requests that are here", base.HEX),
  old = ProtoField.uint64("rmem.old", "Old value", base.HEX),
  data = ProtoField.bytes("rmem.data", "Data"),
  id = ProtoField.uint32("rmem.id", "Identifier"),
  segment = ProtoField.uint32("rmem.segment", "Segment"),
  generation = ProtoField.uint32("rmem.generation", "Generation"),
  rights = ProtoField.string("rmem.rights", "Rights"),
  exporter = ProtoField.string("rmem.exporter", "VC at the exporter"),
  importer = ProtoField.string("rmem.importer", "VC at the importer"),
  from = ProtoField.uint16("rmem.from", "From node"),
  to = ProtoField.uint16("rmem.to", "To node"),
  first = ProtoField.uint32("rmem.first", "First sequence number"),
}
local list = {}
for _, field in pairs(f) do list[#list + 1] = field end
rmem.fields = list

local malformed = ProtoExpert.new("rmem.malformed", "Malformed message", expert.group.MALFORMED, expert.severity.ERROR)
local bad_crc10 = ProtoExpert.new("rmem.crc10.bad", "CRC-10 does not match", expert.group.CHECKSUM, expert.severity.ERROR)
local refused = ProtoExpert.new("rmem.refused", "Request refused", expert.group.RESPONSE_CODE, expert.severity.NOTE)
rmem.experts = { malformed, bad_crc10, refused }

-- wrong notes that a message is not what the protocol allows, and is its description.
local function wrong(tree, text)
  tree:add_proto_expert_info(malformed, "Malformed: " .. text)
  return "malformed: " .. text
end

local function vc_name(range)
  local n = range:uint()
  return string.format("%d/%d", bit.rshift(n, 16), bit.band(n, 0xffff))
end

local function rights_name(n)
  local names = {}
  for _, r in ipairs(RIGHTS) do
    if bit.band(n, r[1]) ~= 0 then names[#names + 1] = r[2] end
  end
  return #names > 0 and table.concat(names, ", ") or "none"
end

local function bytes_name(n) return n == UInt64(1) and "1 byte" or tostring(n) .. " bytes" end

-- operands shows those of an atomic, which are 4 or 8 bytes each, and describes it.
local function operands(tree, op, data, at)
  local n = op == CAS and data:len() / 2 or data:len()
  if n ~= 4 and n ~= 8 then return wrong(tree, "operands of " .. data:len() .. " bytes") end
  local last = data(data:len() - n, n)
  local text = string.format("%s of %d bytes %s, ", OPS[op], n, at)
  if op == CAS then
    tree:add(f.expected, data(0, n))
    text = text .. "expected 0x" .. data(0, n):uint64():tohex() .. ", "
  end
  tree:add(f.operand, last)
  return text .. (op == FADD and "addend" or "value") .. " 0x" .. last:uint64():tohex()
end

-- request shows what stands behind the operation word of a request: in a cell, and with the header's length
-- and offset in a block.
local function request(tree, op, notify, data, length, at)
  if op == WRITE or op == WRITE_SHORT then
    local n = UInt64(data:len())
    if op == WRITE_SHORT and (length or data:len() == 0) then return wrong(tree, "a short write has 1 to 36 bytes") end
    if op == WRITE and not length and data:len() <= 36 then return wrong(tree, "a write of up to 36 bytes has a key") end
    if not length then tree:add(f.length, n):set_generated() end
    if n > UInt64(0) then tree:add(f.data, data) end
    local text = "write of " .. bytes_name(n) .. " " .. at
    if length and length > n then text = text .. ", the first of " .. tostring(length) end
    return text
  elseif op == READ then
    if length then return "read of " .. bytes_name(length) .. " " .. at end
    if data:len() ~= 4 then return wrong(tree, "a read has a length of 4 bytes") end
    tree:add(f.length, data, data:uint64())
    return "read of " .. bytes_name(data:uint64()) .. " " .. at
  elseif op == NOTIFY then
    if data:len() > 0 then return wrong(tree, "a notification has no data") end
    return notify and "notification " .. at or wrong(tree, "a notification without N")
  end
  return operands(tree, op, data, at)
end

-- reply shows what stands behind the operation word of a reply.
local function reply(tree, op, status, data)
  if status ~= 0 then
    tree:add_proto_expert_info(refused, "Refused: " .. (STATUS[status] or status))
    return OPS[op] .. ", refused: " .. (STATUS[status] or tostring(status))
  elseif op == ACK then
    if data:len() == 4 then
      tree:add(f.requests, data(0, 2))
      tree:add(f.kib, data(2, 2))
    end
    return "ack"
  elseif op == DATA then
    tree:add(f.length, UInt64(data:len())):set_generated()
    tree:add(f.data, data)
    return "data of " .. data:len() .. " bytes"
  elseif data:len() ~= 4 and data:len() ~= 8 then
    return wrong(tree, "an old value of " .. data:len() .. " bytes")
  end
  tree:add(f.old, data)
  return "old value 0x" .. data:uint64():tohex()
end

-- have shows what has come, said by the target; or, by the initiator, that all replies before seq have.
local function have(tree, word, data, seq)
  if data:len() == 0 then return "have all replies before " .. seq end
  if data:len() ~= 8 then return wrong(tree, "have with " .. data:len() .. " bytes") end
  local position = 8 * bit.band(bit.rshift(word, 14), 0x1fff)
  tree:add(f.next, seq):set_generated()
  tree:add(f.position, position):set_generated()
  tree:add(f.have, data)
  return "have all before " .. seq .. (position > 0 and ", of that " .. position .. " bytes" or "")
end

-- control shows a control message.
local function control(tree, op, status, tvb)
  if tvb:len() < 8 then return wrong(tree, "a control message of " .. tvb:len() .. " bytes") end
  local version = bit.band(tvb(0, 4):uint(), 0x3fff)
  tree:add(f.status, tvb(0, 4))
  tree:add(f.version, tvb(0, 4), version)
  tree:add(f.id, tvb(4, 4))
  local text = OPS[op] .. " " .. tvb(4, 4):uint()
  if version ~= VERSION then return text .. ", of version " .. version end
  if tvb:len() ~= 40 then return wrong(tree, "a control message has 40 bytes") end
  tree:add(f.from, tvb(28, 2))
  tree:add(f.to, tvb(30, 2))
  local granted = rights_name(tvb(16, 4):uint())
  if op == DISCONNECT then
    tree:add(f.exporter, tvb(20, 4), vc_name(tvb(20, 4)))
    return text .. ": VC " .. vc_name(tvb(20, 4)) .. " at the exporter"
  elseif op == REPLY then
    tree:add(f.length, tvb(8, 8))
    tree:add(f.rights, tvb(16, 4), granted)
    if status ~= 0 then
      tree:add_proto_expert_info(refused, "Refused: " .. (STATUS[status] or status))
      return text .. ", refused: " .. (STATUS[status] or tostring(status))
    end
    if tvb(8, 8):uint64() == UInt64(0) then return text end -- to DISCONNECT
    tree:add(f.key, tvb(32, 4))
    tree:add(f.first, tvb(36, 4))
    return text .. ": segment of " .. bytes_name(tvb(8, 8):uint64()) .. ", rights " .. granted
  end
  tree:add(f.segment, tvb(8, 4))
  tree:add(f.generation, tvb(12, 4))
  tree:add(f.rights, tvb(16, 4), granted)
  tree:add(f.exporter, tvb(20, 4), vc_name(tvb(20, 4)))
  tree:add(f.importer, tvb(24, 4), vc_name(tvb(24, 4)))
  tree:add(f.key, tvb(32, 4))
  tree:add(f.first, tvb(36, 4))
  return string.format("%s: segment %d generation %d, rights %s, VC %s at the exporter, %s at the importer",
    text, tvb(8, 4):uint(), tvb(12, 4):uint(), granted, vc_name(tvb(20, 4)), vc_name(tvb(24, 4)))
end

-- rest is what stands behind the first n octets.
local function rest(tvb, n) return tvb:len() > n and tvb(n) or tvb(0, 0) end

-- message shows a message: tvb is it, from the operation word on; seq its sequence number, nil in a block. It returns a
-- description and the sequence number, nil if it has none.
local function message(tree, tvb, seq)
  local word, block = tvb(0, 4):uint(), seq == nil
  local op, notify = bit.rshift(word, 28), bit.band(word, 0x08000000) ~= 0
  local status, low = bit.band(bit.rshift(word, 19), 0xff), bit.band(word, 0x3fff)
  tree:add(f.op, tvb(0, 4))
  if op >= CONNECT and op <= DISCONNECT and block then return control(tree, op, status, tvb) end
  local lead = not block and (op == WRITE or op == DATA) and 4 or 8 -- octets before the data
  if lead == 8 and tvb:len() >= 8 then tree:add(f.key, tvb(4, 4)) end
  if op == HAVE and not block then return have(tree, word, rest(tvb, 8), seq), seq end
  if not OPS[op] or op > OLD then return wrong(tree, "operation " .. op), seq end
  if block or op ~= DATA then tree:add(f.notify, tvb(0, 4)) end
  if block then
    status = 0 -- its place is the position's; refusals are cells
  elseif op == DATA then
    status = 0 -- its place is the key's
    tree:add(f.data_key, tvb(0, 4))
  elseif op >= ACK then
    tree:add(f.status, tvb(0, 4))
    if seq ~= low then return wrong(tree, "a reply of number " .. low), seq end
  end
  local part = ""
  local data, length, offset, where = rest(tvb, lead), nil, UInt64(bit.band(word, 0x07ffffff)), tvb(0, 4)
  if block then
    if tvb:len() < 24 then return wrong(tree, "a block of " .. tvb:len() .. " bytes") end
    seq = low
    tree:add(f.seq, tvb(0, 4), seq)
    local position = 8 * bit.band(bit.rshift(word, 14), 0x1fff)
    if position > 0 then
      tree:add(f.position, tvb(0, 4), position)
      part = " (the part from byte " .. position .. ")"
    end
    length, offset, where = tvb(8, 8):uint64(), tvb(16, 8):uint64(), tvb(16, 8)
    tree:add(f.length, tvb(8, 8), length)
    data = rest(tvb, 24)
  end
  local text
  if op >= ACK then
    text = reply(tree, op, status, data)
  else
    tree:add(f.offset, where, offset)
    text = request(tree, op, notify, data, length, "at offset " .. tostring(offset))
    if notify and op ~= NOTIFY then text = text .. ", notify" end
  end
  return text .. part, seq
end

local function describe(pinfo, tree, vc, text, seq)
  pinfo.cols.protocol = "RMEM"
  pinfo.cols.info = vc .. (seq and " #" .. seq or "") .. " " .. text
  tree:append_text(": " .. text)
end

-- The remainder of an octet that is followed by ten bits 0, by x^10+x^9+x^5+x^4+x+1.
local remainders = {}
for octet = 0, 255 do
  local r = bit.lshift(octet, 2)
  for _ = 1, 8 do
    r = bit.lshift(r, 1)
    if r >= 0x400 then r = bit.bxor(r, 0x633) end
  end
  remainders[octet] = r
end

-- crc10 is 0 for 48 octets that were not damaged.
local function crc10(tvb)
  local r = 0
  for _, octet in ipairs({ tvb:raw():byte(1, -1) }) do
    r = bit.bxor(bit.band(bit.lshift(r, 8), 0x3ff), remainders[bit.bxor(bit.rshift(r, 2), octet)])
  end
  return r
end

-- payload shows the 48 octets of a user cell.
local function payload(tvb, pinfo, root, vpi, vci, pt)
  local vc = vpi .. "/" .. vci
  if bit.band(pt, 1) ~= 0 or bit.band(vci, 1) ~= 0 then
    pinfo.cols.info = vc .. (bit.band(pt, 1) ~= 0 and " last AAL5 cell of a PDU" or " AAL5 cell")
    Dissector.get("data"):call(tvb, pinfo, root)
    return
  end
  local tree = root:add(rmem, tvb())
  local sar = tree:add(tvb(0, 2), "AAL3/4")
  sar:add(f.st, tvb(0, 2))
  sar:add(f.sn, tvb(0, 2))
  sar:add(f.mid, tvb(0, 2))
  sar:add(f.li, tvb(46, 2))
  sar:add(f.crc10, tvb(46, 2))
  if crc10(tvb) ~= 0 then
    sar:add(f.crc10_status, tvb(46, 2), "incorrect")
    tree:add_proto_expert_info(bad_crc10)
    describe(pinfo, tree, vc, "damaged cell, CRC-10 incorrect")
    return
  end
  sar:add(f.crc10_status, tvb(46, 2), "correct")
  local head, li = tvb(0, 2):uint(), bit.rshift(tvb(46, 2):uint(), 10)
  local seq = bit.bor(bit.lshift(bit.band(head, 0x3ff), 4), bit.band(bit.rshift(head, 10), 0xf))
  tree:add(f.seq, tvb(0, 2), seq)
  if bit.rshift(head, 14) ~= 3 or li < 8 or li > 44 then
    describe(pinfo, tree, vc, wrong(tree, "not a single segment message of 8 to 44 octets"), seq)
    return
  end
  local text, number = message(tree, tvb(2, li):tvb(), seq)
  describe(pinfo, tree, vc, text, number)
end

local function value(field)
  local info = field()
  return info and info.value or 0
end

local vpi_field, vci_field, pt_field = Field.new("atm.vpi"), Field.new("atm.vci"), Field.new("atm.payload_type")
local crc32_field = Field.new("atm.aal5t_crc")

-- In a cell of Wireshark's own ATM dissector.
function rmem.dissector(tvb, pinfo, root)
  payload(tvb, pinfo, root, value(vpi_field), value(vci_field), value(pt_field))
  return tvb:len()
end

-- The CRC-32 of AAL5 (ITU-T I.363.5, clause 9.2.1.2), an octet at a time.
local crc32_table = {}
for octet = 0, 255 do
  local r = bit.lshift(octet, 24)
  for _ = 1, 8 do
    r = bit.band(r, 0x80000000) ~= 0 and bit.bxor(bit.lshift(r, 1), 0x04c11db7) or bit.lshift(r, 1)
  end
  crc32_table[octet] = r
end

-- sound tells whether the CRC-32 of the PDU that begins at an offset and ends with the field crc is right: then the remainder of
-- the whole PDU is 0xc704dd7b. Wireshark checks it, too, but says so in a text only, which it does not make for the packet list.
local function sound(crc, offset)
  local pdu = crc.source(offset, crc.offset + crc.len - offset):raw()
  local r = bit.bnot(0)
  for k = 1, #pdu do
    r = bit.bxor(bit.lshift(r, 8), crc32_table[bit.bxor(bit.band(bit.rshift(r, 24), 0xff), pdu:byte(k))])
  end
  return bit.tobit(r) == bit.tobit(0xc704dd7b)
end

-- In an AAL5 PDU whose Length fits: else Wireshark has not taken its CRC-32 for a field.
local block = Proto("rmemblock", "Remote Memory Block")
function block.dissector(tvb, pinfo, root)
  local vc = value(vpi_field) .. "/" .. value(vci_field)
  local tree = root:add(rmem, tvb())
  local crc = crc32_field()
  if not crc then
    describe(pinfo, tree, vc, "damaged or truncated PDU, its Length does not fit its cells")
  elseif not sound(crc, tvb:offset()) then
    describe(pinfo, tree, vc, "damaged PDU, CRC-32 incorrect")
  elseif tvb:len() < 4 then
    describe(pinfo, tree, vc, wrong(tree, "a PDU of " .. tvb:len() .. " bytes"))
  else
    local text, seq = message(tree, tvb)
    describe(pinfo, tree, vc, text, seq)
  end
  return tvb:len()
end

-- Circuits have VCIs from 32 up. Their VPI is 0 at the ports of nodes, 1 to 3 where two rmemruns have been joined, and 0 to 15 between
-- switches. The tables' key is VPI and VCI. Each VPI costs Wireshark 8 MB.
for vpi = 0, 15 do
  local circuits = string.format("%d-%d", bit.bor(bit.lshift(vpi, 16), 32), bit.bor(bit.lshift(vpi, 16), 65535))
  DissectorTable.get("atm.cell_payload.vpi_vci"):add(circuits, rmem)
  DissectorTable.get("atm.reassembled.vpi_vci"):add(circuits, block)
end

-- Cells of 53 octets.

local PT = {
  [0] = "user", [1] = "user, last of a PDU", [2] = "user, congestion", [3] = "user, congestion, last of a PDU",
  [4] = "OAM F5, segment", [5] = "OAM F5, end to end", [6] = "resource management", [7] = "reserved",
}

local c = {
  gfc = ProtoField.uint8("rmemcell.gfc", "Generic flow control (GFC)", base.DEC, nil, 0xf0),
  vpi = ProtoField.uint16("rmemcell.vpi", "Virtual path (VPI)", base.DEC, nil, 0x0ff0),
  vci = ProtoField.uint32("rmemcell.vci", "Virtual channel (VCI)", base.DEC, nil, 0x0ffff0),
  pt = ProtoField.uint8("rmemcell.pt", "Payload type (PT)", base.DEC, PT, 0x0e),
  clp = ProtoField.uint8("rmemcell.clp", "Cell loss priority (CLP)", base.DEC, nil, 0x01),
  hec = ProtoField.uint8("rmemcell.hec", "Header error control (HEC)", base.HEX),
  hec_status = ProtoField.string("rmemcell.hec.status", "HEC status"),
}
list = {}
for _, field in pairs(c) do list[#list + 1] = field end
cell.fields = list

local bad_hec = ProtoExpert.new("rmemcell.hec.bad", "HEC does not match", expert.group.CHECKSUM, expert.severity.ERROR)
cell.experts = { bad_hec }

-- syndrome is 0 for a header of five octets that was not damaged (ITU-T I.432.1).
local function syndrome(octets)
  local r = 0
  for i = 1, 4 do
    r = bit.bxor(r, octets[i])
    for _ = 1, 8 do
      r = bit.lshift(r, 1)
      if r >= 0x100 then r = bit.bxor(r, 0x107) end
    end
  end
  return bit.bxor(r, 0x55, octets[5])
end

-- The bit that is wrong, by the syndrome, if it is only one. As Wireshark does, bit 0 is the first that is sent.
local bits = {}
for i = 0, 39 do
  local octets = { 0, 0, 0, 0, 0x55 }
  local k = math.floor(i / 8) + 1
  octets[k] = bit.bxor(octets[k], bit.rshift(0x80, i % 8))
  bits[syndrome(octets)] = i
end

local function hec_status(tvb)
  local octets = {}
  for i = 1, 5 do octets[i] = tvb(i - 1, 1):uint() end
  local s = syndrome(octets)
  if s == 0 then return "correct" end
  return bits[s] and "error in bit " .. bits[s] or "uncorrectable"
end

function cell.dissector(tvb, pinfo, root)
  if tvb:len() ~= 53 then return 0 end
  local status = hec_status(tvb)
  local pt = bit.band(bit.rshift(tvb(3, 1):uint(), 1), 7)
  local vpi = bit.band(bit.rshift(tvb(0, 2):uint(), 4), 0xff)
  local vci = bit.band(bit.rshift(tvb(1, 3):uint(), 4), 0xffff)
  pinfo.cols.protocol = "ATM"
  local tree = root:add(cell, tvb(0, 5))
  tree:append_text(string.format(", VPI %d, VCI %d, HEC %s", vpi, vci, status))
  tree:add(c.gfc, tvb(0, 1))
  tree:add(c.vpi, tvb(0, 2))
  tree:add(c.vci, tvb(1, 3))
  tree:add(c.pt, tvb(3, 1))
  tree:add(c.clp, tvb(3, 1))
  tree:add(c.hec, tvb(4, 1))
  tree:add(c.hec_status, tvb(4, 1), status)
  local rest = tvb(5):tvb()
  if status ~= "correct" then
    tree:add_proto_expert_info(bad_hec, "HEC: " .. status)
    pinfo.cols.info = "HEC: " .. status
    Dissector.get("data"):call(rest, pinfo, root)
  elseif pt >= 4 and pt <= 5 or vci == 3 or vci == 4 then
    Dissector.get("atm_oam_cell"):call(tvb, pinfo, root)
  elseif pt < 4 and vci >= 32 then
    payload(rest, pinfo, root, vpi, vci, pt)
  else
    pinfo.cols.info = string.format("%d/%d %s", vpi, vci, PT[pt])
    Dissector.get("data"):call(rest, pinfo, root)
  end
  return tvb:len()
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, cell)
