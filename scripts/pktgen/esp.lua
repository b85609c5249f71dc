-- ESP tunnels. LSN_DIRECTION says which way: outbound (-s 0:outbound.pcap), inbound (-s 1:inbound.pcap),
-- or both at once, which is the default and needs both files. `frames` writes them; ranges know no SPIs.
package.path = "./?.lua;" .. package.path
local lsn = require("common")

local ports = {
  outbound = { lsn.inside }, inbound = { lsn.outside }, both = { lsn.inside, lsn.outside },
}
local direction = os.getenv("LSN_DIRECTION") or "both"
if ports[direction] == nil then
  error("LSN_DIRECTION: given " .. direction .. ", allowed outbound, inbound, both", 0)
end

lsn.prepare()
for _, port in ipairs(ports[direction]) do pktgen.pcap(port, "on") end
lsn.run(ports[direction])
