-- buffering: an answer that is longer than it may be becomes 500. Context: most (bytes).
-- One whose length is not told is held back until it is whole; Envoy itself answers 500 where it has no room for that.

local KEPT = "sampan.buffering"

function envoy_on_request(handle)
  handle:streamInfo():dynamicMetadata():set(KEPT, "method", handle:headers():get(":method"))
end

function envoy_on_response(handle)
  local most = tonumber(handle:filterContext():get("most"))
  local kept = handle:streamInfo():dynamicMetadata():get(KEPT)
  local length = tonumber(handle:headers():get("content-length") or "")
  if kept == nil or kept["method"] == "HEAD" or (length and length <= most) then
    return
  end
  local body = handle:body(true)
  if body:length() <= most then
    return
  end
  local text = "the answer is longer than it may be\n"
  local set = body:setBytes(text)
  local headers = handle:headers()
  headers:replace(":status", "500")
  headers:replace("content-type", "text/plain")
  headers:replace("content-length", tostring(set))
  for _, name in ipairs({"content-encoding", "etag", "last-modified", "transfer-encoding"}) do
    headers:remove(name)
  end
end
