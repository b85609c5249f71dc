-- Both ways at once: subscribers' UDP as a range through port 0; through port 1 what `frames inbound`
-- has written, answers of UDP and ESP alike (-s 1:inbound.pcap).
package.path = "./?.lua;" .. package.path
local lsn = require("common")

lsn.prepare()
print(string.format("mixed: %d flows outbound", lsn.outbound_range()))
pktgen.pcap(lsn.outside, "on")
lsn.run({ lsn.inside, lsn.outside })
