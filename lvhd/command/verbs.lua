-- SPDX-License-Identifier: MIT
--
-- The command's words: its verbs, their arguments and options, and examples.
-- Data only. Help, completion, the man page and the parser are made of it.

local verbs = {}

-- An option: its words, what it is for, and what else argparse shall know.
local function option(words, text, more)
  local row = more or {}
  row.words, row.text = words, text
  return row
end

local function argument(name, text, more)
  local row = more or {}
  row.name, row.text = name, text
  return row
end

local json = option("--json", "the result as JSON on standard output",
  { flag = true })
local quiet = option("-q --quiet", "no progress, and nothing on success",
  { flag = true })
local progress = option("--progress", "auto (a bar on a terminal), bar, json "
  .. "(lines on standard error) or none", { value = "MODE", default = "auto",
  choices = { "auto", "bar", "json", "none" } })
local dry_run = option("-n --dry-run", "refuse what would be refused, say what "
  .. "would be done, and change nothing",
  { flag = true })
local sync = option("--sync", "how durable it is when it is done: full, data "
  .. "(files, not names) or none", { value = "HOW",
  choices = { "full", "data", "none" } })
local parents = option("--parents", "a folder in which parents may be, beside "
  .. "the disk's own; may be given again", { value = "DIR", many = true })
-- What each verb would refuse without it.
local function force(text)
  return option("--force", text, { flag = true })
end
local search = option("--children-in", "a folder to look in for other disks "
  .. "that read from it, beside its own; may be given again",
  { value = "DIR", many = true })
local drive = option("--drive", "a Windows drive or share and its folder, as "
  .. "C=/srv/vms; then paths may be Windows paths; may be given again",
  { value = "NAME=DIR", many = true })

local long = { progress, quiet, json, drive }
local function with(list, ...)
  local all = { ... }
  table.move(list, 1, #list, #all + 1, all)
  return all
end

local names = option("--host-names", "allow the characters in names that "
  .. "Windows forbids", { flag = true })
local long_paths = option("--long-paths", "allow paths of 260 characters and "
  .. "more", { flag = true })
local new = with(long, names, long_paths, sync, dry_run,
  option("--mode", "the file's mode, as 0640", { value = "OCTAL" }),
  option("--block-size", "of dynamic disks, 2MiB or 512KiB",
    { value = "SIZE" }))
local changing = with(long, sync, dry_run)
local function in_place(force_text, ...)
  return with(changing, force(force_text), ...)
end

---The verbs, in the order of the help.
verbs.list = {
  {
    name = "create",
    text = "make a dynamic, fixed or differencing disk, or many children",
    more = "A disk of SIZE is dynamic: it takes space as it is written. With "
      .. "--parent it is a differencing disk, whose size is the parent's. A "
      .. "new file appears whole or not at all, and never replaces one.",
    arguments = {
      argument("image", "the new file; with --children a pattern with one "
        .. "%d, as web%03d.vhd"),
      argument("size", "as 40GiB, 512MiB or bytes; not with --parent",
        { optional = true }),
    },
    options = with(new,
      option("--fixed", "all of it is in the file", { flag = true }),
      option("--parent", "the disk that the new one reads from",
        { value = "FILE" }),
      option("--children", "make so many, numbered from --first on",
        { value = "N" }),
      option("--first", "the first number, if not 1", { value = "N" }),
      option("--keep", "an existing disk of that kind is as good: for reruns",
        { flag = true }),
      option("--allocate", "of fixed disks: sparse, reserve or zero",
        { value = "HOW", choices = { "sparse", "reserve", "zero" } }),
      option("--filesystem", "format it: fat16 or fat32",
        { value = "NAME", choices = { "fat16", "fat32" } }),
      option("--label", "of the file system", { value = "TEXT" })),
    examples = {
      { "lvhd create disk.vhd 40GiB", "a dynamic disk" },
      { "lvhd create farm/web%03d.vhd --parent golden.vhd --children 100",
        "a hundred children of one golden image" },
    },
  },
  {
    name = "info",
    text = "what one file says; opens no other",
    arguments = { argument("image", "the disk") },
    options = { json, drive },
    examples = {
      { "lvhd info disk.vhd", "type, size, identifier, parent" },
      { "lvhd info --json disk.vhd", "all of it, for programs" },
    },
  },
  {
    name = "chain",
    text = "a disk and its parents, and why the chain is broken where it is",
    arguments = { argument("image", "the leaf") },
    options = { parents, json, drive },
    examples = {
      { "lvhd chain web01.vhd", "every layer, leaf first" },
      { "lvhd chain web01.vhd --parents /srv/golden",
        "parents may lie there, too" },
    },
  },
  {
    name = "children",
    text = "the disks that read from this one",
    arguments = {
      argument("image", "the parent"),
      argument("dir", "where to look, with all below; default: its folder",
        { any = true }),
    },
    options = { progress, quiet, json, drive },
    examples = {
      { "lvhd children golden.vhd", "in its own folder" },
      { "lvhd children golden.vhd /srv/vms /backup", "in two others" },
    },
  },
  {
    name = "check",
    text = "look for damage; changes nothing",
    more = "Ends with 9 when there are errors; notes and warnings do no harm.",
    arguments = { argument("image", "the disk") },
    options = with(long, parents,
      option("--chain", "its parents too", { flag = true }),
      option("--data", "every sector bitmap too: slower", { flag = true }),
      option("--profile", "what this reader would not take: azure, hyperv, "
        .. "xenserver, virtualbox or 7zip", { value = "NAME",
        choices = { "azure", "hyperv", "xenserver", "virtualbox", "7zip" } })),
    examples = {
      { "lvhd check --chain --data web01.vhd", "all there is to look at" },
      { "lvhd check --profile azure upload.vhd", "would Azure take it?" },
    },
  },
  {
    name = "map",
    text = "a picture of who holds what in a chain",
    arguments = { argument("image", "the leaf") },
    options = { parents, drive, json,
      option("--svg", "write the picture into this file, which must not exist; "
        .. "- is standard output", { value = "FILE" }),
      option("--width", "columns of the picture", { value = "N" }),
      option("--no-color", "no colours, as with NO_COLOR set or without a "
        .. "terminal", { flag = true }),
    },
    examples = {
      { "lvhd map web01.vhd", "on the terminal" },
      { "lvhd map web01.vhd --svg web01.svg", "for a document" },
    },
  },
  {
    name = "read",
    text = "bytes of the disk, through its chain, to standard output",
    arguments = { argument("image", "the disk") },
    options = { parents, drive, progress, quiet,
      option("--offset", "where to begin, as 1MiB", { value = "SIZE",
        default = "0" }),
      option("--length", "how much; default: to the end", { value = "SIZE" }),
    },
    examples = {
      { "lvhd read web01.vhd --length 512 | xxd", "the boot sector" },
      { "lvhd read web01.vhd > web01.raw", "all of it, holes filled" },
    },
  },
  {
    name = "write",
    text = "bytes from standard input into the disk",
    more = "A disk that others read from must not change: known children in "
      .. "its folder, and where --children-in says, stop it.",
    arguments = { argument("image", "the disk") },
    options = in_place("even where other disks read from it, which RUINS "
      .. "them; where a parent has another time than the recorded one; and "
      .. "where an interrupted merge into it is given up by that",
      parents, search, option("--offset", "where to begin, as 1MiB",
        { value = "SIZE", default = "0" })),
    examples = {
      { "lvhd write disk.vhd < boot.img", "from the start" },
      { "lvhd write disk.vhd --offset 1MiB < partition.img", "from there on" },
    },
  },
  {
    name = "convert",
    text = "the content of a disk as a new file of any type",
    arguments = { argument("source", "the disk, or raw file"),
      argument("dest", "the new file") },
    options = with(new, parents,
      option("--from", "vhd or raw: nothing is guessed", { value = "TYPE",
        choices = { "vhd", "raw" }, default = "vhd" }),
      option("--to", "raw, fixed, dynamic or differencing; default: dynamic",
        { value = "TYPE",
          choices = { "raw", "fixed", "dynamic", "differencing" } }),
      option("--parent", "of a differencing disk: only what differs is kept",
        { value = "FILE" }),
      option("--round", "grow the size to a multiple, as 1MiB for Azure",
        { value = "SIZE" }),
      option("--allocate", "of fixed disks: sparse, reserve or zero",
        { value = "HOW", choices = { "sparse", "reserve", "zero" } })),
    examples = {
      { "lvhd convert disk.raw disk.vhd --from raw", "raw to dynamic" },
      { "lvhd convert disk.vhd upload.vhd --to fixed --round 1MiB",
        "as a cloud wants it" },
    },
  },
  {
    name = "flatten",
    text = "a child and its parents as one disk that needs none",
    more = "What other programs need that read differencing disks wrong: "
      .. "qemu does, silently.",
    arguments = { argument("source", "the leaf"),
      argument("dest", "the new file") },
    options = with(new, parents,
      option("--to", "raw, fixed or dynamic; default: dynamic",
        { value = "TYPE", choices = { "raw", "fixed", "dynamic" } })),
    examples = {
      { "lvhd flatten web01.vhd web01-flat.vhd", "one dynamic disk" },
      { "lvhd flatten web01.vhd web01.raw --to raw", "for qemu-system" },
    },
  },
  {
    name = "merge",
    text = "put a child's changes into its parent",
    more = "The parent changes. Where another child of it is found, which that "
      .. "would RUIN, the merge is refused; --child does not name such a one, "
      .. "but a disk that reads from the merged one.",
    arguments = { argument("child", "the disk to be merged") },
    options = in_place("even where other disks read from what changes, which "
      .. "RUINS them; where a parent has another time than the recorded one; "
      .. "and where another interrupted operation is given up by that",
      parents, search,
      option("--into", "this layer of the chain instead of the next",
        { value = "FILE" }),
      option("--child", "a child of the merged disk, which gets the new "
        .. "parent; may be given again", { value = "FILE", many = true,
        target = "child_of" }),
      option("--delete", "remove the child afterwards; a link to it stays",
        { flag = true })),
    examples = {
      { "lvhd merge snapshot.vhd --delete", "into its parent, and away" },
      { "lvhd merge middle.vhd --child leaf.vhd",
        "leaf.vhd then reads from the parent of middle.vhd" },
    },
  },
  {
    name = "compact",
    text = "give back the blocks that hold nothing",
    arguments = { argument("image", "the disk") },
    options = in_place("even where a parent has another time than the recorded "
      .. "one, where the file's own time cannot be given back, and where an "
      .. "interrupted operation is given up by that", parents),
    examples = {
      { "lvhd compact disk.vhd", "after the guest has zeroed its free space" },
      { "lvhd compact --dry-run disk.vhd", "what is it like now?" },
    },
  },
  {
    name = "resize",
    text = "give a fixed or dynamic disk another size",
    arguments = { argument("image", "the disk"),
      argument("size", "as 80GiB; smaller only when nothing is cut off") },
    options = in_place("even where other disks read from it, which RUINS "
      .. "them; where the file's time cannot be given back; and where an "
      .. "interrupted operation is given up by that", search),
    examples = {
      { "lvhd resize disk.vhd 80GiB", "grow it" },
      { "lvhd resize disk.vhd 80GiB --dry-run", "say what would be" },
    },
  },
  {
    name = "relink",
    text = "tell a child where its parent is, or that its time has changed",
    arguments = { argument("child", "the disk"),
      argument("parent", "its parent") },
    options = in_place("even where the parent is another disk than the "
      .. "recorded one: what the child does not hold itself then reads as "
      .. "that disk; and where an interrupted operation is given up by that",
      parents),
    examples = {
      { "lvhd relink web01.vhd /srv/golden/base.vhd", "the parent has moved" },
      { "lvhd relink web01.vhd copy.vhd --force",
        "although it is another disk" },
    },
  },
  {
    name = "repair",
    text = "mend what can be mended without guessing",
    arguments = { argument("image", "the disk") },
    options = in_place("even where the file's time cannot be given back, and "
      .. "where an interrupted operation is given up by that"),
    examples = {
      { "lvhd repair disk.vhd", "footer, geometry, padding" },
      { "lvhd repair --dry-run disk.vhd", "what check says" },
    },
  },
  {
    name = "version",
    text = "the version",
    arguments = {},
    options = { json },
    examples = {
      { "lvhd version", "the library's" },
      { "lvhd version --json", "for programs" },
    },
  },
}

---By name.
verbs.by_name = {}
for _, verb in ipairs(verbs.list) do
  verbs.by_name[verb.name] = verb
end

---Whether a verb has an option, as "--force".
function verbs.has(name, word)
  for _, row in ipairs(verbs.by_name[name].options) do
    if (" " .. row.words .. " "):find(" " .. word .. " ", 1, true) then
      return true
    end
  end
  return false
end

return verbs
