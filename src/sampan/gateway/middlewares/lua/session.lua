-- oidc, oauth2: the cookies of the session are between the client and us. Context: prefix (of the cookies' names), id (the
-- name of the one with the ID token), header (that tells the backend the ID token; absent: none does).

function envoy_on_request(handle)
  local told = handle:filterContext()
  local prefix, id, header = told:get("prefix"), told:get("id"), told:get("header")
  local headers = handle:headers()
  local kept = {}
  if header then
    headers:remove(header)
  end
  for cookie in (headers:get("cookie") or ""):gmatch("[^;]+") do
    local name, value = cookie:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    if name == nil or name:sub(1, #prefix) ~= prefix then
      kept[#kept + 1] = cookie:match("^%s*(.-)%s*$")
    elseif name == id and header then
      headers:replace(header, value)
    end
  end
  if #kept > 0 then
    headers:replace("cookie", table.concat(kept, "; "))
  else
    headers:remove("cookie")
  end
end
