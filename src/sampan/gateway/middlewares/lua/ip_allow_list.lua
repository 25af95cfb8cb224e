-- ipAllowList: who is not of some ranges gets a status. Before this stand the functions of address.lua.
-- Context: ranges (blanks between them), status, and for the address depth, excluded, subnet.

function envoy_on_request(handle)
  local told = handle:filterContext()
  local status = told:get("status")
  if not is_within_any(client_of(handle, told), told:get("ranges")) then
    handle:respond({[":status"] = status, ["content-type"] = "text/plain"}, "the client's address is not allowed\n")
  end
end
