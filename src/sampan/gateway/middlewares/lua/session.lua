-- oidc, oauth2: the cookies of the session are between the client and us. Context: prefix (of the cookies' names), id (the
-- name of the one with the ID token), header (that tells the backend the ID token; absent: none does).
-- Of several cookies of a name Envoy checks the first, by names with blanks before them alone: no other is told.

function envoy_on_request(handle)
  local told = handle:filterContext()
  local prefix, id, header = told:get("prefix"), told:get("id"), told:get("header")
  local headers = handle:headers()
  local kept = {}
  local token
  for index = 0, headers:getNumValues("cookie") - 1 do
    for cookie in headers:getAtIndex("cookie", index):gmatch("[^;]+") do
      local name, value = cookie:match("^ *([^=]*)=%s*(.-)%s*$")
      if name == id then
        token = token or value
      end
      if name == nil or name:match("^%s*(.-)%s*$"):sub(1, #prefix) ~= prefix then
        kept[#kept + 1] = cookie:match("^%s*(.-)%s*$")
      end
    end
  end
  if header then
    headers:remove(header)
    if token then
      headers:replace(header, token)
    end
  end
  headers:remove("cookie")
  if #kept > 0 then
    headers:add("cookie", table.concat(kept, "; "))
  end
end
