-- What the scripts for Pktgen-DPDK share: settings from the environment, ranges, the run itself.
-- docs/pktgen.md says how to use them. Start Pktgen in this directory: require() looks there.
--
-- Port 0 is connected with lsnd's inside, port 1 with its outside.

local lsn = { inside = "0", outside = "1" }

local function text(name, default)
  local value = os.getenv("LSN_" .. name)
  if value == nil or value == "" then return default end
  return value
end

local function number(name, default, least, most)
  local given = text(name, tostring(default))
  local value = math.tointeger(tonumber(given))
  if value == nil or value < least or value > most then
    error(string.format("LSN_%s: given %s, allowed %d-%d", name, given, least, most), 0)
  end
  return value
end

-- Addresses as numbers, so that ranges can be counted.
local function address(dotted)
  local a, b, c, d = dotted:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a == nil then error("not an IPv4 address: " .. dotted, 0) end
  return ((tonumber(a) * 256 + tonumber(b)) * 256 + tonumber(c)) * 256 + tonumber(d)
end

local function dotted(value)
  return string.format("%d.%d.%d.%d", value >> 24 & 255, value >> 16 & 255, value >> 8 & 255,
    value & 255)
end

local function common_divisor(a, b)
  while b ~= 0 do a, b = b, a % b end
  return a
end

lsn.inside_mac = text("INSIDE_MAC", "02:00:00:00:00:01")
lsn.outside_mac = text("OUTSIDE_MAC", "02:00:00:00:00:02")
lsn.inside_host = text("INSIDE_HOST", "192.0.2.254")
lsn.outside_host = text("OUTSIDE_HOST", "198.51.100.254")
lsn.subscriber = address(text("SUBSCRIBER", "100.64.0.1"))
lsn.subscribers = number("SUBSCRIBERS", 1000, 1, 65535)
lsn.port = number("PORT", 1024, 1, 65535)
lsn.ports = number("PORTS", 63, 1, 65535)
lsn.server = address(text("SERVER", "198.18.0.1"))
lsn.server_port = number("SERVER_PORT", 443, 1, 65535)
lsn.proto = text("PROTO", "udp")
lsn.size = number("SIZE", 64, 64, 1518)
lsn.rate = number("RATE", 100, 1, 100)
lsn.count = number("COUNT", 0, 0, 0xFFFFFFFF)
lsn.seconds = number("SECONDS", 30, 0, 86400)

-- Both ports: who they are (Pktgen answers ARP for these addresses while `process` is on, and lsnd
-- asks for them), and where single packets would go.
function lsn.prepare()
  for port, host in pairs({ [lsn.inside] = lsn.inside_host, [lsn.outside] = lsn.outside_host }) do
    pktgen.stop(port)
    pktgen.set_range(port, "off")
    pktgen.pcap(port, "off")
    pktgen.set_ipaddr(port, "src", host .. "/24")
    pktgen.set(port, "count", lsn.count)
    pktgen.set(port, "rate", lsn.rate)
    pktgen.process(port, "on")
  end
  pktgen.set_mac(lsn.inside, "dst", lsn.inside_mac)
  pktgen.set_mac(lsn.outside, "dst", lsn.outside_mac)
end

-- In a range every field takes its next value with each packet. Of N addresses and P ports one
-- gets N x P flows only if N and P have no common divisor.
function lsn.flows()
  if common_divisor(lsn.subscribers, lsn.ports) ~= 1 then
    error(string.format("LSN_SUBSCRIBERS and LSN_PORTS: given %d and %d, allowed: numbers without a "
      .. "common divisor", lsn.subscribers, lsn.ports), 0)
  end
  if lsn.port + lsn.ports - 1 > 65535 then
    error(string.format("LSN_PORT and LSN_PORTS: given %d and %d, allowed: up to port 65535", lsn.port,
      lsn.ports), 0)
  end
  return lsn.subscribers * lsn.ports
end

local function fixed(set, port, value, none)
  set(port, "start", value)
  set(port, "min", value)
  set(port, "max", value)
  set(port, "inc", none)
end

local function span(set, port, first, last, step)
  set(port, "start", first)
  set(port, "min", first)
  set(port, "max", last)
  set(port, "inc", step)
end

-- The subscribers' packets, through port 0.
function lsn.outbound_range()
  local flows, port = lsn.flows(), lsn.inside
  fixed(pktgen.range.dst_mac, port, lsn.inside_mac, "00:00:00:00:00:00")
  span(pktgen.range.src_ip, port, dotted(lsn.subscriber),
    dotted(lsn.subscriber + lsn.subscribers - 1), "0.0.0.1")
  fixed(pktgen.range.dst_ip, port, dotted(lsn.server), "0.0.0.0")
  span(pktgen.range.src_port, port, lsn.port, lsn.port + lsn.ports - 1, 1)
  fixed(pktgen.range.dst_port, port, lsn.server_port, 0)
  pktgen.range.ip_proto(port, lsn.proto)
  fixed(pktgen.range.pkt_size, port, lsn.size, 0)
  pktgen.set_range(port, "on")
  return flows
end

-- Sends for LSN_SECONDS, or until somebody types "stop all" (0), or LSN_COUNT packets.
function lsn.run(ports)
  for _, port in ipairs(ports) do pktgen.start(port) end
  if lsn.seconds == 0 then return end
  pktgen.delay(lsn.seconds * 1000)
  for _, port in ipairs(ports) do pktgen.stop(port) end
end

return lsn
