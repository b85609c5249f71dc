-- What the servers answer, through port 1: the packets of a file that `frames inbound` has written for
-- the sessions that lsnd has. Pktgen was started with -s 1:inbound.pcap.
package.path = "./?.lua;" .. package.path
local lsn = require("common")

lsn.prepare()
pktgen.pcap(lsn.outside, "on")
lsn.run({ lsn.outside })
