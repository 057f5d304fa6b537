"""Names, places with names, adverbs and other words that do not inflect or hardly do. No code."""

WOMEN = """Anna Maria Laura Julia Sophie Lena Emma Clara Eva Lisa Hannah Sarah Monika Petra Sabine"""
MEN = """Peter Paul Michael Martin Daniel Stefan David Jakob Jan Karl Otto Robert Tim Oliver Simon"""
SURNAMES = """Müller Schmidt Weber Fischer Wagner Becker Hoffmann Schulz Neumann Krüger Lehmann Zimmermann Brandt Vogel
Keller Lorenz"""

# Cities: English German, equal if only one is given.
CITIES = """
Berlin
Munich      München
Hamburg
Vienna      Wien
Cologne     Köln
London
Paris
Rome        Rom
Zurich      Zürich
Frankfurt
Dresden
Prague      Prag
Hanover     Hannover
Venice      Venedig
Nuremberg   Nürnberg
Milan       Mailand
Moscow      Moskau
Leipzig
Warsaw      Warschau
Brussels    Brüssel
Athens      Athen
Lisbon      Lissabon
Geneva      Genf
Madrid
Bremen
"""

# Countries: English | German | article (f, p for plural, n for none).
COUNTRIES = """
Germany           | Deutschland          | n
Austria           | Österreich           | n
Switzerland       | Schweiz              | f
Italy             | Italien              | n
France            | Frankreich           | n
Spain             | Spanien              | n
the United States | USA                  | p
England           | England              | n
Turkey            | Türkei               | f
Poland            | Polen                | n
the Netherlands   | Niederlande          | p
Greece            | Griechenland         | n
Japan             | Japan                | n
Sweden            | Schweden             | n
China             | China                | n
Hungary           | Ungarn               | n
Norway            | Norwegen             | n
Russia            | Russland             | n
Denmark           | Dänemark             | n
Ireland           | Irland               | n
Egypt             | Ägypten              | n
Brazil            | Brasilien            | n
"""

MONTHS = """
January     Januar
February    Februar
March       März
April       April
May         Mai
June        Juni
July        Juli
August      August
September   September
October     Oktober
November    November
December    Dezember
"""

WEEKDAYS = """
Monday      Montag
Tuesday     Dienstag
Wednesday   Mittwoch
Thursday    Donnerstag
Friday      Freitag
Saturday    Samstag
Sunday      Sonntag
"""

SEASONS = """
summer      Sommer
winter      Winter
spring      Frühling
autumn      Herbst
"""

# Manner, with verbs of doing: English | German.
MANNER = """
slowly       | langsam
quickly      | schnell
carefully    | vorsichtig
alone        | allein
together     | gemeinsam
quietly      | leise
secretly     | heimlich
patiently    | geduldig
calmly       | ruhig
by mistake   | versehentlich
"""

# How often: between subject and verb in English. English | German.
FREQUENCY = """
often        | oft
always       | immer
sometimes    | manchmal
usually      | meistens
rarely       | selten
never        | nie
still        | immer noch
hardly ever  | kaum
"""

# Before a past participle. English | German.
PERFECT = """
already      | schon
just         | gerade
never        | noch nie
finally      | endlich
"""

# The whole sentence: at its start in English and German. English | German.
SENTENCE = """
unfortunately | leider
perhaps       | vielleicht
probably      | wahrscheinlich
fortunately   | zum Glück
of course     | natürlich
suddenly      | plötzlich
therefore     | deshalb
apparently    | anscheinend
sooner or later | früher oder später
"""

# Degree, before a predicate adjective. English | German.
DEGREE = """
very          | sehr
too           | zu
quite         | ziemlich
really        | wirklich
extremely     | äußerst
"""

# Points in time. English | German | tenses: p past, n present, f future, h habitual.
TIMES = """
today                 | heute             | nf
yesterday             | gestern           | p
tomorrow              | morgen            | f
now                   | jetzt             | n
every day             | jeden Tag         | h
last week             | letzte Woche      | p
soon                  | bald              | f
next week             | nächste Woche     | f
at the moment         | im Moment         | n
in the evening        | am Abend          | h
in the morning        | am Morgen         | h
last year             | letztes Jahr      | p
next year             | nächstes Jahr     | f
every week            | jede Woche        | h
this week             | diese Woche       | nf
yesterday evening     | gestern Abend     | p
tomorrow morning      | morgen früh       | f
this evening          | heute Abend       | f
the day before yesterday | vorgestern     | p
the day after tomorrow | übermorgen       | f
at night              | nachts            | h
at Christmas          | zu Weihnachten    | hpf
at the weekend        | am Wochenende     | hpf
last month            | letzten Monat     | p
next month            | nächsten Monat    | f
every morning         | jeden Morgen      | h
every evening         | jeden Abend       | h
back then             | damals            | p
recently              | neulich           | p
at midday             | mittags           | h
later                 | später            | pf
"""

# Places of a whole action. English | German.
PLACES = """
at home       | zu Hause
here          | hier
there         | dort
outside       | draußen
everywhere    | überall
abroad        | im Ausland
"""

NUMBERS = """null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn
siebzehn achtzehn neunzehn"""
TENS = """- zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig"""
ENGLISH_NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen"""
ENGLISH_TENS = """- ten twenty thirty forty fifty sixty seventy eighty ninety"""
ORDINALS = """
first         | erst
second        | zweit
third         | dritt
fourth        | viert
fifth         | fünft
last          | letzt
next          | nächst
"""
