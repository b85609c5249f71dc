-- Stands in for Pktgen-DPDK: runs a script with the functions that Pktgen's Lua has, as its source says
-- (app/lpktgenlib.c), refuses everything else, and writes down what was called.
--
--   lua5.4 pktgen_mock.lua SCRIPT     a line for each call: function and arguments, divided by tabs

local function one_of(...)
  local words = {}
  for _, word in ipairs({ ... }) do words[word] = true end
  return function(value) return words[value] end
end
local function integer(value) return math.type(value) == "integer" end
local function ports(value) return type(value) == "string" and value:match("^[%d,-]+$") or value == "all" end
local function address(value)
  return type(value) == "string" and value:match("^%d+%.%d+%.%d+%.%d+$")
end
local function network(value)
  return type(value) == "string" and value:match("^%d+%.%d+%.%d+%.%d+/%d+$")
end
local function mac(value)
  return type(value) == "string" and value:match("^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$")
end
local state = one_of("on", "off", "enable", "disable")
local smmi = one_of("start", "min", "max", "inc", "minimum", "maximum", "increment")

local functions = {
  start = { ports }, stop = { ports }, process = { ports, state }, pcap = { ports, state },
  set_range = { ports, state }, delay = { integer },
  set = { ports, one_of("count", "size", "rate", "burst", "sport", "dport"), integer },
  set_mac = { ports, one_of("src", "dst"), mac },
  -- A source comes with its network, a destination without.
  set_ipaddr = { ports, one_of("src", "dst"), function(v) return network(v) or address(v) end },
}
local ranges = {
  dst_mac = { ports, smmi, mac }, src_mac = { ports, smmi, mac },
  dst_ip = { ports, smmi, address }, src_ip = { ports, smmi, address },
  dst_port = { ports, smmi, integer }, src_port = { ports, smmi, integer },
  ip_proto = { ports, one_of("udp", "tcp") },
  pkt_size = { ports, smmi, integer },
}

local function library(prefix, known)
  local result = {}
  for name, checks in pairs(known) do
    result[name] = function(...)
      local given = table.pack(...)
      if given.n ~= #checks then
        error(string.format("%s%s, wrong number of arguments", prefix, name), 2)
      end
      for i, check in ipairs(checks) do
        if not check(given[i]) then
          error(string.format("%s%s, argument %d: %s", prefix, name, i, tostring(given[i])), 2)
        end
        given[i] = tostring(given[i])
      end
      io.stdout:write(prefix, name, "\t", table.concat(given, "\t"), "\n")
    end
  end
  return setmetatable(result, { __index = function(_, name)
    error("Pktgen has no " .. prefix .. tostring(name), 2)
  end })
end

pktgen = library("", functions)
rawset(pktgen, "range", library("range.", ranges))
print = function(...) io.stderr:write(table.concat({ ... }, "\t"), "\n") end
dofile(arg[1])
