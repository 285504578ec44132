-- SPDX-License-Identifier: MIT
--
-- What --json gives, as data: the README and the man page tell it, and
-- spec/json_spec.lua holds what is printed against it. In a shape, `info` is
-- what lvhd.info gives, `error` what an error has; a name with ? may be absent.

local shapes = {}

---Which runs give which result.
shapes.results = {
  { "create, info, convert, flatten, merge, compact, resize, relink, repair",
    "info" },
  { "create --children, chain, children, check", "[info]" },
  { "map", "{size: integer, unwritten: integer, layers: [{path: string, "
    .. "type: string, file_size: integer, bytes: integer, runs: integer, "
    .. "blocks?: integer, blocks_used?: integer}]}" },
  { "write", "{path: string, offset: integer, bytes: integer}" },
  { "version", "{version: string}" },
  { "create --dry-run", "{would: string, path: string, type: string, "
    .. "size: integer}, or {would: string, disk: info}" },
  { "create --children --dry-run", "{would: string, parent: info, "
    .. "images: [string]}" },
  { "convert --dry-run, flatten --dry-run", "{would: string, source: string, "
    .. "path: string, type: string}" },
  { "compact --dry-run, repair --dry-run", "{would: string, disk: info}" },
  { "resize --dry-run", "{would: string, disk: info, size: integer}" },
  { "write --dry-run", "{would: string, disk: info, offset: integer}" },
  { "relink --dry-run", "{would: string, disk: info, parent: info}" },
  { "merge --dry-run", "{would: string, disk: info, chain: [info]}" },
}

---The line around it, and what else is in lines of their own.
shapes.others = {
  { "the line", "{ok: boolean, verb?: string, exit: integer, "
    .. "dry_run?: boolean, result?: any, error?: error, items?: [any]}" },
  { "error", "{message: string, name?: string, hresult?: integer, "
    .. "op?: string, path?: string, parent?: string, errno?: integer, "
    .. "errname?: string, syscall?: string, reason?: string, expected?: any, "
    .. "actual?: any, offset?: integer, layer?: integer, others?: [string], "
    .. "hint?: string}" },
  { "items", "[info, or {error: error}, or {would: string, path: string}]" },
  { "--progress=json", "{progress: {bytes: integer, percent?: integer, "
    .. "bytes_total?: integer, items?: integer, items_total?: integer, "
    .. "seconds: number}}" },
}

return shapes
