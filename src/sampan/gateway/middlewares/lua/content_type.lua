-- contentType: an answer without a content type gets the one that its first bytes tell.
-- Source: WHATWG MIME Sniffing, as Go's net/http has it.

local MOST_BYTES = 1048576
local LOOKED_AT = 512

local BEGINNINGS = {
  {"%PDF-", "application/pdf"}, {"%!PS-Adobe-", "application/postscript"},
  {"\254\255", "text/plain; charset=utf-16be"}, {"\255\254", "text/plain; charset=utf-16le"},
  {"\239\187\191", "text/plain; charset=utf-8"},
  {"GIF87a", "image/gif"}, {"GIF89a", "image/gif"}, {"\137PNG\13\10\26\10", "image/png"}, {"\255\216\255", "image/jpeg"},
  {"BM", "image/bmp"}, {"\0\0\1\0", "image/x-icon"}, {"\0\0\2\0", "image/x-icon"},
  {"ID3", "audio/mpeg"}, {"OggS\0", "application/ogg"}, {"MThd\0\0\0\6", "audio/midi"},
  {"\26\69\223\163", "video/webm"},
  {"\0\1\0\0", "font/ttf"}, {"OTTO", "font/otf"}, {"ttcf", "font/collection"}, {"wOFF", "font/woff"}, {"wOF2", "font/woff2"},
  {"\31\139\8", "application/x-gzip"}, {"PK\3\4", "application/zip"}, {"Rar!\26\7\0", "application/x-rar-compressed"},
  {"Rar!\26\7\1\0", "application/x-rar-compressed"}, {"\0asm", "application/wasm"},
}
local RIFF = {["WEBPVP"] = "image/webp", ["AVI "] = "video/avi", ["WAVE"] = "audio/wave"}
local HTML = {"<!doctype html", "<html", "<head", "<script", "<iframe", "<h1", "<div", "<font", "<table", "<a", "<style",
  "<title", "<b", "<body", "<br", "<p", "<!--"}

local function detected(bytes)
  local text = bytes:match("^[\t\n\12\r ]*(.*)$"):sub(1, 32):lower()
  for _, tag in ipairs(HTML) do
    local after = text:sub(#tag + 1, #tag + 1)
    if text:sub(1, #tag) == tag and (tag == "<!--" or after == " " or after == ">") then
      return "text/html; charset=utf-8"
    end
  end
  if text:sub(1, 5) == "<?xml" then
    return "text/xml; charset=utf-8"
  end
  for _, one in ipairs(BEGINNINGS) do
    if bytes:sub(1, #one[1]) == one[1] then
      return one[2]
    end
  end
  if bytes:sub(1, 4) == "RIFF" then
    for mark, kind in pairs(RIFF) do
      if bytes:sub(9, 8 + #mark) == mark then
        return kind
      end
    end
  end
  if bytes:sub(5, 8) == "ftyp" then
    return "video/mp4"
  end
  if bytes:find("[%z\1-\8\11\14-\26\28-\31]") then
    return "application/octet-stream"
  end
  return "text/plain; charset=utf-8"
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local length = tonumber(headers:get("content-length") or "")
  if headers:get("content-type") or headers:get("content-encoding") or not length or length == 0 or length > MOST_BYTES then
    return
  end
  local body = handle:body()
  if body and body:length() > 0 then
    handle:headers():replace("content-type", detected(body:getBytes(0, math.min(body:length(), LOOKED_AT))))
  end
end
