-- Who is counted, or judged, by what a route says of it: written where other filters read it.
-- Context: slot (under which name), by ("host", "header", "address"), header, and for addresses depth, excluded (ranges,
-- blanks between them), subnet (bits of an IPv6 address that tell clients apart).
-- Before this stand the functions of address.lua.

local KEPT = "sampan.source"
-- of all that live in this Envoy, no other has this place in memory
local own, count = tostring({}):match("0x%x+"), 0

function envoy_on_request(handle)
  local told = handle:filterContext()
  local headers = handle:headers()
  local kept = handle:streamInfo():dynamicMetadata()
  local by = told:get("by")
  local found
  if by == "host" then
    found = "host " .. (headers:get(":authority") or "")
  elseif by == "header" then
    found = "header " .. (headers:get(told:get("header")) or "")
  else
    found = "address " .. client_of(handle, told)
  end
  kept:set(KEPT, told:get("slot"), found)
  count = count + 1
  kept:set(KEPT, "identity", table.concat({own, count, handle:timestamp()}, "-"))
end
