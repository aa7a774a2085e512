#!/usr/bin/env bash
# Writes tests/data/exif: tiny pictures whose EXIF exiftool (or Pillow: pillow.jpg) wrote, and exif.tsv with what exiftool
# reads from them: file, date (taken, else digitized, else changed), maker, model. Needs exiftool and Python with Pillow 11.3
# or newer, which can write AVIF.
set -euo pipefail
cd "$(dirname "$0")/../../tests/data/exif"
rm -f ./*
python3 - <<'PY'
from PIL import Image
picture = Image.new("RGB", (16, 16), (200, 80, 40))
for name in ("all.jpg", "big.jpg", "digitized.jpg", "changed.jpg", "unset.jpg", "model.jpg", "none.jpg", "all.png", "all.webp",
             "all.tif", "all.avif"):
    picture.save(name)
exif = Image.Exif()
exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D Mark IV"
exif.get_ifd(0x8769)[0x9003] = "2019:12:31 23:59:59"
picture.save("pillow.jpg", exif=exif)
PY
write() { exiftool -q -overwrite_original "$@"; }
all=(-EXIF:DateTimeOriginal='2023:05:01 14:30:00' -EXIF:CreateDate='2023:05:02 08:00:00' -EXIF:ModifyDate='2024:01:01 00:00:00'
  -EXIF:Make='FUJIFILM' -EXIF:Model='X100V')
write "${all[@]}" all.jpg all.png all.webp all.tif all.avif
write -ExifByteOrder=MM "${all[@]}" big.jpg
write -EXIF:CreateDate='2001:02:03 04:05:06' -EXIF:ModifyDate='2024:01:01 00:00:00' -EXIF:Make='NIKON CORPORATION' -EXIF:Model='NIKON D750' digitized.jpg
write -EXIF:ModifyDate='2024:02:29 12:00:00' -EXIF:Make='Ricoh ' changed.jpg
write -n -EXIF:DateTimeOriginal='0000:00:00 00:00:00' -EXIF:Make='A' unset.jpg
write -EXIF:Model='Pixel 7' model.jpg
for file in *.*; do
  exiftool -f -p '$FileName	$EXIF:DateTimeOriginal	$EXIF:CreateDate	$EXIF:ModifyDate	$EXIF:Make	$EXIF:Model' "$file"
done | awk -F'\t' -v OFS='\t' '{ for (i = 2; i <= NF; i++) { sub(/ +$/, "", $i); if ($i == "-" || $i ~ /^0000/) $i = "" }
  print $1, $2 ? $2 : $3 ? $3 : $4, $5, $6 }' >exif.tsv
