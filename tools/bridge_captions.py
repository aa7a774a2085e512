#!/usr/bin/env python3
"""Captions for a bridge, in English and Korean: the stamps', and words for every other one of the labelled photos.

    tools/bridge_captions.py STAMPS PHOTOS > captions.jsonl
    tools/bridge_captions.py --unseen PHOTOS                   names the photos left out

STAMPS and PHOTOS are the folders of the materials tuxpaint-stamps and gcompris-photos. A photo's words come from its
folder and file name by the table below. The first photo of each folder,
the third and so on are left out, for searching.
"""
import json
import pathlib
import re
import sys

# The first pattern that fits "folder/name" decides.
WORDS = [
    (r"fish/", "A fish under water.", "물속의 물고기."),
    (r"energy/solar", "Solar panels.", "태양광 전지판."), (r"energy/windmill", "Wind turbines.", "풍력 발전기."),
    (r"energy/dam", "A dam.", "댐."), (r"energy/geothermal", "A geothermal power plant.", "지열 발전소."),
    (r"tools/hammer", "A hammer.", "망치."), (r"tools/measuringTape", "A measuring tape.", "줄자."),
    (r"tools/multimeter", "A multimeter.", "멀티미터."), (r"tools/scissors", "Scissors.", "가위."),
    (r"tools/screwDriver", "A screwdriver.", "드라이버."), (r"tools/wrench", "A wrench.", "렌치."),
    (r"tools/(plier|sideCutter|cuttingTool|tweezer)", "Pliers.", "펜치."), (r"tools/", "A tool.", "공구."),
    (r"/.*pyramid", "A pyramid in the desert.", "사막의 피라미드."),
    (r"/.*(castle|chateau|castillo|fort|mont|cite|palais)", "An old castle.", "오래된 성."),
    (r"/.*(cathedral|rocamadour)", "A cathedral.", "대성당."), (r"/.*(palace|palac|mahal)", "A palace.", "궁전."),
    (r"/.*(statue|redeemer|rushmore)", "A huge statue.", "거대한 동상."),
    (r"/.*(tower|burj|empire|bayterek|minar)", "A tall tower.", "높은 탑."),
    (r"/.*(gate|arc)", "A great gate.", "커다란 문."), (r"/.*(wall|machu)", "Ancient walls in the mountains.", "산속의 옛 성벽."),
    (r"monuments/", "An ancient monument.", "오래된 유적."),
    (r"/(horse)", "A horse.", "말."), (r"/(cow|calf|bison)", "A cow.", "소."), (r"/(cat|kitten)", "A cat.", "고양이."),
    (r"/dog", "A dog.", "개."), (r"/(pig)", "A pig.", "돼지."), (r"/(sheep|alpaca)", "A sheep.", "양."),
    (r"/(goat|nubian_ibex)", "A goat.", "염소."), (r"/(gorilla|gibbon|macaque|long_nosed_monkey)", "A monkey.", "원숭이."),
    (r"/(chicken)", "A chicken.", "닭."), (r"/(duck|gosling|swans)", "A duck.", "오리."),
    (r"/(owl|heron|kingfisher|northern_harrier|toucan|spoonbills|scarlet_macaw|penguin)", "A bird.", "새."),
    (r"/(bee|butterfly|caterpillar)", "An insect.", "곤충."), (r"/(giraffe)", "A giraffe.", "기린."),
    (r"/(panda|red_panda|polar_bear|koala)", "A bear.", "곰."), (r"/camels", "Camels.", "낙타."),
    (r"/(jaguar|cheetah)", "A big wild cat.", "표범."), (r"/(chamaeleon|chameleon|dragon)", "A lizard.", "도마뱀."),
    (r"animals/", "A wild animal.", "야생 동물."),
    (r"/(baseball|volleyball)", "A ball.", "공."), (r"/(cup|plate|pan|buffetset|spoons)", "Dishes.", "그릇."),
    (r"/chair", "A chair.", "의자."), (r"/bulb", "A light bulb.", "전구."), (r"/pencil", "A pencil.", "연필."),
    (r"/knife", "A knife.", "칼."), (r"/bucket", "A bucket.", "양동이."), (r"objects/", "A thing.", "물건."),
]


def words(name):
    for pattern, english, korean in WORDS:
        if re.search(pattern, name, re.IGNORECASE):
            return {"en": english, "ko": korean}
    raise SystemExit(f"no words for {name}")


def folders(photos):
    """The photos of each folder in order."""
    for folder in sorted({path.parent for path in photos.rglob("*.webp")}):
        yield folder.name, sorted(folder.glob("*.webp"))


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    stamps, photos = map(pathlib.Path, sys.argv[1:])
    if sys.argv[1] == "--unseen":
        for _, found in folders(photos):
            print(*map(str, found[::2]), sep="\n")
        return
    for line in (stamps / "captions.jsonl").read_text(encoding="utf-8").splitlines():
        stamp = json.loads(line)
        print(json.dumps(stamp | {"path": str(stamps.absolute() / stamp["path"])}, ensure_ascii=False))
    for folder, found in folders(photos):
        for photo in found[1::2]:
            caption = words(f"{folder}/{photo.stem}")
            print(json.dumps({"path": str(photo.absolute()), "captions": caption}, ensure_ascii=False))


if __name__ == "__main__":
    main()
