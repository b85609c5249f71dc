-- Subscribers' packets through port 0: LSN_SUBSCRIBERS addresses x LSN_PORTS ports, each flow in turn.
-- The first round opens the sessions, all others find them.
package.path = "./?.lua;" .. package.path
local lsn = require("common")

lsn.prepare()
print(string.format("outbound: %d flows", lsn.outbound_range()))
lsn.run({ lsn.inside })
