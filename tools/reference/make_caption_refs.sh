#!/usr/bin/env bash
# Writes tests/data/captions: tiny pictures whose captions exiftool wrote, and captions.tsv with what it reads from them:
# file, then title, description, headline and keywords, each once. Needs exiftool and Python with Pillow.
set -euo pipefail
cd "$(dirname "$0")/../../tests/data/captions"
rm -f ./*
python3 - <<'PY'
from PIL import Image
for name in ("xmp.jpg", "iptc.jpg", "latin1.jpg", "both.jpg", "none.jpg", "xmp.png", "xmp.webp", "xmp.gif", "xmp.tif"):
    Image.new("RGB", (8, 8), (200, 80, 40)).save(name)
PY
xmp=(-XMP-dc:Title='Winter road' -XMP-dc:Description='A road without people' -XMP-dc:Description-ko='사람이 없는 도로에서'
  -XMP-dc:Subject=snow -XMP-dc:Subject='빈 도로' -XMP-photoshop:Headline='Snow & <ice>')
iptc=(-IPTC:ObjectName='Beach dog' -IPTC:Caption-Abstract='바닷가에서 뛰노는 개' -IPTC:Headline='A dog' -IPTC:Keywords=dog -IPTC:Keywords='바다')
exiftool -q -overwrite_original "${xmp[@]}" xmp.jpg xmp.png xmp.webp xmp.gif xmp.tif
exiftool -q -overwrite_original -IPTC:CodedCharacterSet=UTF8 "${iptc[@]}" iptc.jpg
exiftool -q -overwrite_original -charset iptc=Latin -IPTC:Caption-Abstract='Crème brûlée' -IPTC:Keywords=dessert latin1.jpg
exiftool -q -overwrite_original -IPTC:CodedCharacterSet=UTF8 "${iptc[@]}" -XMP-dc:Description='바닷가에서 뛰노는 개' -XMP-dc:Subject=dog both.jpg
for file in *.[^t]* *.tif; do
  exiftool -charset iptc=Latin -s3 -sep ';;' -XMP-dc:Title -XMP-dc:Description -XMP-dc:Description-ko -XMP-dc:Subject \
    -XMP-photoshop:Headline -IPTC:ObjectName -IPTC:Caption-Abstract -IPTC:Headline -IPTC:Keywords "$file" |
    sed 's/;;/\n/g' | awk '!seen[$0]++' | sort | paste -sd'\t' | sed "s/^/$file\t/"
done > captions.tsv
