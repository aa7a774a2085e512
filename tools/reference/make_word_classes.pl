#!/usr/bin/perl
# Writes src/text/word_classes.inc: ranges of characters by their part in word breaking (UAX #29, as Lucene's
# StandardTokenizer uses it), from the Unicode tables that Perl ships. Run as: perl make_word_classes.pl > FILE
use strict;
use warnings;
use Unicode::UCD;

# The first that fits wins.
my @classes = (
  [ 'KIN_WORD_EXTEND'        => qr/[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]/ ],
  [ 'KIN_WORD_HANGUL'        => qr/(?=\p{Script=Hangul})[\p{WB=ALetter}]/ ],
  [ 'KIN_WORD_HEBREW'        => qr/\p{WB=Hebrew_Letter}/ ],
  [ 'KIN_WORD_LETTER'        => qr/\p{WB=ALetter}/ ],
  [ 'KIN_WORD_NUMBER'        => qr/\p{WB=Numeric}|(?=\p{Blk=Half_And_Full_Forms})\p{Nd}/ ],
  [ 'KIN_WORD_KATAKANA'      => qr/\p{WB=Katakana}/ ],
  [ 'KIN_WORD_HIRAGANA'      => qr/\p{Script=Hiragana}/ ],
  [ 'KIN_WORD_HAN'           => qr/\p{Script=Han}/ ],
  [ 'KIN_WORD_COMPLEX'       => qr/\p{LB=Complex_Context}/ ],
  [ 'KIN_WORD_MID_LETTER'    => qr/\p{WB=MidLetter}/ ],
  [ 'KIN_WORD_MID_NUMBER'    => qr/\p{WB=MidNum}/ ],
  [ 'KIN_WORD_MID_BOTH'      => qr/[\p{WB=MidNumLet}\p{WB=Single_Quote}]/ ],
  [ 'KIN_WORD_DOUBLE_QUOTE'  => qr/\p{WB=Double_Quote}/ ],
  [ 'KIN_WORD_CONNECTOR'     => qr/\p{WB=ExtendNumLet}/ ],
  [ 'KIN_WORD_REGIONAL'      => qr/\p{WB=Regional_Indicator}/ ],
  [ 'KIN_WORD_PICTURE'       => qr/\p{Extended_Pictographic}/ ],
);

sub class_of {
  my $c = chr shift;
  for (@classes) { return $_->[0] if $c =~ $_->[1]; }
  return '';
}

my ($from, $class, @rows) = (0, '');
for my $c (0 .. 0x110000) {
  my $next = $c == 0x110000 || ($c >= 0xD800 && $c <= 0xDFFF) ? '' : class_of($c);
  next if $next eq $class;
  push @rows, sprintf('{0x%X, 0x%X, %s}', $from, $c - 1, $class) if $class ne '';
  ($from, $class) = ($c, $next);
}
print "/* Made by tools/reference/make_word_classes.pl from Unicode ", Unicode::UCD::UnicodeVersion(), ". */\n";
my $line = '';
for (@rows) {
  if (length("$line$_, ") > 119) { print "$line\n"; $line = ''; }
  $line .= ($line eq '' ? '' : ' ') . "$_,";
}
print "$line\n";
