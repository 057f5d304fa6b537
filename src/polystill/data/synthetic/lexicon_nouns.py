"""The nouns, by what they name. One entry a line, frequent ones first; no code.

    english[/plural]  gender German [Genitive] [Plural]

Gender is m, f, n, or w for masculine n-nouns (der Student, den Studenten). Feminine nouns and n-nouns have no genitive
column: it follows from the gender. A missing plural means that the generator uses the singular only. A section's name
in brackets is the kind that verbs, adjectives and prepositions refer to.
"""

NOUNS = """
[relative]
mother              f Mutter Mütter
friend              m Freund Freundes Freunde
father              m Vater Vaters Väter
brother             m Bruder Bruders Brüder
sister              f Schwester Schwestern
son                 m Sohn Sohnes Söhne
daughter            f Tochter Töchter
neighbour           w Nachbar Nachbarn
colleague           w Kollege Kollegen
boss                m Chef Chefs Chefs
grandmother         f Großmutter Großmütter
grandfather         m Großvater Großvaters Großväter
uncle               m Onkel Onkels Onkel
aunt                f Tante Tanten
husband             m Ehemann Ehemannes Ehemänner
wife/wives          f Ehefrau Ehefrauen
nephew              w Neffe Neffen
niece               f Nichte Nichten

[people]
man/men             m Mann Mannes Männer
woman/women         f Frau Frauen
child/children      n Kind Kindes Kinder
girl                n Mädchen Mädchens Mädchen
boy                 w Junge Jungen
student             w Student Studenten
guest               m Gast Gastes Gäste
pupil               m Schüler Schülers Schüler
tourist             w Tourist Touristen
customer            w Kunde Kunden
baby                n Baby Babys Babys
patient             w Patient Patienten
thief/thieves       m Dieb Diebes Diebe
passenger           m Passagier Passagiers Passagiere
prince              w Prinz Prinzen
princess            f Prinzessin Prinzessinnen
queen               f Königin Königinnen
king                m König Königs Könige
hero/heroes         w Held Helden
giant               w Riese Riesen
dwarf               m Zwerg Zwerges Zwerge

[professional]
teacher             m Lehrer Lehrers Lehrer
doctor              m Arzt Arztes Ärzte
police officer      w Polizist Polizisten
nurse               f Krankenschwester Krankenschwestern
engineer            m Ingenieur Ingenieurs Ingenieure
lawyer              m Anwalt Anwalts Anwälte
farmer              w Bauer Bauern
cook                m Koch Kochs Köche
baker               m Bäcker Bäckers Bäcker
artist              m Künstler Künstlers Künstler
journalist          w Journalist Journalisten
waiter              m Kellner Kellners Kellner
professor           m Professor Professors Professoren
driver              m Fahrer Fahrers Fahrer
singer              m Sänger Sängers Sänger
actor               m Schauspieler Schauspielers Schauspieler
secretary           f Sekretärin Sekretärinnen
judge               m Richter Richters Richter
soldier             w Soldat Soldaten
pilot               w Pilot Piloten
gardener            m Gärtner Gärtners Gärtner
musician            m Musiker Musikers Musiker
scientist           m Wissenschaftler Wissenschaftlers Wissenschaftler
mayor               m Bürgermeister Bürgermeisters Bürgermeister
salesman/salesmen   m Verkäufer Verkäufers Verkäufer
mechanic            m Mechaniker Mechanikers Mechaniker
painter             m Maler Malers Maler
dentist             m Zahnarzt Zahnarztes Zahnärzte
postman/postmen     m Briefträger Briefträgers Briefträger
photographer        w Fotograf Fotografen
architect           w Architekt Architekten
coach               m Trainer Trainers Trainer
president           w Präsident Präsidenten
carpenter           m Tischler Tischlers Tischler
hairdresser         m Friseur Friseurs Friseure
writer              m Schriftsteller Schriftstellers Schriftsteller
butcher             m Metzger Metzgers Metzger
librarian           m Bibliothekar Bibliothekars Bibliothekare
poet                m Dichter Dichters Dichter
tailor              m Schneider Schneiders Schneider
hunter              m Jäger Jägers Jäger
dancer              f Tänzerin Tänzerinnen

[animal]
dog                 m Hund Hundes Hunde
cat                 f Katze Katzen
horse               n Pferd Pferdes Pferde
bird                m Vogel Vogels Vögel
cow                 f Kuh Kühe
mouse/mice          f Maus Mäuse
pig                 n Schwein Schweines Schweine
duck                f Ente Enten
rabbit              n Kaninchen Kaninchens Kaninchen
bear                w Bär Bären
sheep               n Schaf Schafes
wolf/wolves         m Wolf Wolfes Wölfe
fox                 m Fuchs Fuchses Füchse
goat                f Ziege Ziegen
lion                w Löwe Löwen
monkey              w Affe Affen
elephant            w Elefant Elefanten
snake               f Schlange Schlangen
goose/geese         f Gans Gänse
donkey              m Esel Esels Esel
chicken             n Huhn Huhns Hühner
tiger               m Tiger Tigers Tiger
frog                m Frosch Frosches Frösche
squirrel            n Eichhörnchen Eichhörnchens Eichhörnchen
hedgehog            m Igel Igels Igel
parrot              m Papagei Papageis Papageien
giraffe             f Giraffe Giraffen
camel               n Kamel Kamels Kamele
turtle              f Schildkröte Schildkröten
bee                 f Biene Bienen

[food]
apple               m Apfel Apfels Äpfel
cake                m Kuchen Kuchens Kuchen
egg                 n Ei Eies Eier
soup                f Suppe Suppen
potato/potatoes     f Kartoffel Kartoffeln
tomato/tomatoes     f Tomate Tomaten
sausage             f Wurst Würste
salad               m Salat Salats Salate
banana              f Banane Bananen
pizza               f Pizza Pizzas
pear                f Birne Birnen
orange              f Orange Orangen
roll                n Brötchen Brötchens Brötchen
onion               f Zwiebel Zwiebeln
carrot              f Karotte Karotten
biscuit             m Keks Kekses Kekse
strawberry          f Erdbeere Erdbeeren
cherry              f Kirsche Kirschen
lemon               f Zitrone Zitronen
mushroom            m Pilz Pilzes Pilze
plum                f Pflaume Pflaumen
nut                 f Nuss Nüsse
cucumber            f Gurke Gurken
pancake             m Pfannkuchen Pfannkuchens Pfannkuchen
pumpkin             m Kürbis Kürbisses Kürbisse

[dish]
bread               n Brot Brotes
cheese              m Käse Käses
meat                n Fleisch Fleisches
fish                m Fisch Fisches
rice                m Reis Reises
chocolate           f Schokolade
fruit               n Obst Obstes
ice cream           n Eis Eises
butter              f Butter
ham                 m Schinken Schinkens
honey               m Honig Honigs
yoghurt             m Joghurt Joghurts

[drink]
water               n Wasser Wassers
coffee              m Kaffee Kaffees
milk                f Milch
tea                 m Tee Tees
beer                n Bier Bieres
wine                m Wein Weines
juice               m Saft Saftes
lemonade            f Limonade
cocoa               m Kakao Kakaos

[text]
book                n Buch Buches Bücher
letter              m Brief Briefes Briefe
newspaper           f Zeitung Zeitungen
report              m Bericht Berichts Berichte
magazine            f Zeitschrift Zeitschriften
article             m Artikel Artikels Artikel
postcard            f Postkarte Postkarten
contract            m Vertrag Vertrags Verträge
recipe              n Rezept Rezepts Rezepte
form                n Formular Formulars Formulare
diary               n Tagebuch Tagebuches Tagebücher
dictionary          n Wörterbuch Wörterbuches Wörterbücher

[flat]
knife/knives        n Messer Messers Messer
pen                 m Stift Stiftes Stifte
photo               n Foto Fotos Fotos
blanket             f Decke Decken
spoon               m Löffel Löffels Löffel
fork                f Gabel Gabeln
towel               n Handtuch Handtuches Handtücher
map                 f Landkarte Landkarten
pillow              n Kissen Kissens Kissen
notebook            n Heft Heftes Hefte
hammer              m Hammer Hammers Hämmer
umbrella            m Regenschirm Regenschirms Regenschirme
brush               f Bürste Bürsten
comb                m Kamm Kammes Kämme
rope                n Seil Seiles Seile
saw                 f Säge Sägen
sword               n Schwert Schwertes Schwerter

[upright]
bottle              f Flasche Flaschen
glass               n Glas Glases Gläser
cup                 f Tasse Tassen
lamp                f Lampe Lampen
plate               m Teller Tellers Teller
vase                f Vase Vasen
pot                 m Topf Topfes Töpfe
bucket              m Eimer Eimers Eimer
bowl                f Schüssel Schüsseln
candle              f Kerze Kerzen
jug                 m Krug Kruges Krüge
can                 f Dose Dosen
pan                 f Pfanne Pfannen
ladder              f Leiter Leitern

[small]
key                 m Schlüssel Schlüssels Schlüssel
phone               n Handy Handys Handys
ticket              f Fahrkarte Fahrkarten
coin                f Münze Münzen
wallet              m Geldbeutel Geldbeutels Geldbeutel
passport            m Pass Passes Pässe
ring                m Ring Ringes Ringe
stamp               f Briefmarke Briefmarken
handkerchief        n Taschentuch Taschentuches Taschentücher
button              m Knopf Knopfes Knöpfe

[clothing]
shirt               n Hemd Hemdes Hemden
dress               n Kleid Kleides Kleider
coat                m Mantel Mantels Mäntel
jacket              f Jacke Jacken
shoe                m Schuh Schuhs Schuhe
hat                 m Hut Hutes Hüte
skirt               m Rock Rockes Röcke
jumper              m Pullover Pullovers Pullover
suit                m Anzug Anzugs Anzüge
scarf/scarves       m Schal Schals Schals
blouse              f Bluse Blusen
boot                m Stiefel Stiefels Stiefel
cap                 f Mütze Mützen
glove               m Handschuh Handschuhs Handschuhe
tie                 f Krawatte Krawatten
belt                m Gürtel Gürtels Gürtel
uniform             f Uniform Uniformen
sock                f Socke Socken

[surface]
table               m Tisch Tisches Tische
bed                 n Bett Bettes Betten
chair               m Stuhl Stuhls Stühle
sofa                n Sofa Sofas Sofas
desk                m Schreibtisch Schreibtisches Schreibtische
bench               f Bank Bänke
shelf/shelves       n Regal Regals Regale
armchair            m Sessel Sessels Sessel
carpet              m Teppich Teppichs Teppiche
stool               m Hocker Hockers Hocker

[container]
bag                 f Tasche Taschen
cupboard            m Schrank Schranks Schränke
box                 f Kiste Kisten
suitcase            m Koffer Koffers Koffer
drawer              f Schublade Schubladen
basket              m Korb Korbes Körbe
fridge              m Kühlschrank Kühlschranks Kühlschränke
rucksack            m Rucksack Rucksacks Rucksäcke
envelope            m Umschlag Umschlags Umschläge

[car]
car                 n Auto Autos Autos
bicycle             n Fahrrad Fahrrads Fahrräder
motorbike           n Motorrad Motorrads Motorräder
lorry               m Lastwagen Lastwagens Lastwagen
tractor             m Traktor Traktors Traktoren
ambulance           m Krankenwagen Krankenwagens Krankenwagen

[transport]
train               m Zug Zuges Züge
bus                 m Bus Busses Busse
tram                f Straßenbahn Straßenbahnen
ship                n Schiff Schiffes Schiffe
taxi                n Taxi Taxis Taxis
underground         f U-Bahn U-Bahnen
ferry               f Fähre Fähren
boat                n Boot Bootes Boote

[device]
computer            m Computer Computers Computer
television          m Fernseher Fernsehers Fernseher
radio               n Radio Radios Radios
light               n Licht Lichtes Lichter
washing machine     f Waschmaschine Waschmaschinen
camera              f Kamera Kameras
machine             f Maschine Maschinen
printer             m Drucker Druckers Drucker
heating             f Heizung
engine              m Motor Motors Motoren
oven                m Ofen Ofens Öfen
alarm clock         m Wecker Weckers Wecker
vacuum cleaner      m Staubsauger Staubsaugers Staubsauger

[room]
kitchen             f Küche Küchen
garden              m Garten Gartens Gärten
room                n Zimmer Zimmers Zimmer
office              n Büro Büros Büros
living room         n Wohnzimmer Wohnzimmers Wohnzimmer
bedroom             n Schlafzimmer Schlafzimmers Schlafzimmer
cellar              m Keller Kellers Keller
hotel               n Hotel Hotels Hotels
bathroom            n Badezimmer Badezimmers Badezimmer
classroom           n Klassenzimmer Klassenzimmers Klassenzimmer
garage              f Garage Garagen
dining room         n Esszimmer Esszimmers Esszimmer
tent                n Zelt Zeltes Zelte
stable              m Stall Stalles Ställe

[venue]
school              f Schule Schulen
cinema              n Kino Kinos Kinos
restaurant          n Restaurant Restaurants Restaurants
theatre             n Theater Theaters Theater
hospital            n Krankenhaus Krankenhauses Krankenhäuser
museum              n Museum Museums Museen
church              f Kirche Kirchen
library             f Bibliothek Bibliotheken
café                n Café Cafés Cafés
swimming pool       n Schwimmbad Schwimmbades Schwimmbäder
pub                 f Kneipe Kneipen

[shop]
supermarket         m Supermarkt Supermarktes Supermärkte
bakery              f Bäckerei Bäckereien
bank                f Bank Banken
pharmacy            f Apotheke Apotheken
bookshop            f Buchhandlung Buchhandlungen
factory             f Fabrik Fabriken
town hall           n Rathaus Rathauses Rathäuser
castle              n Schloss Schlosses Schlösser
embassy             f Botschaft Botschaften

[stop]
station             m Bahnhof Bahnhofs Bahnhöfe
airport             m Flughafen Flughafens Flughäfen
university          f Universität Universitäten
bus stop            f Bushaltestelle Bushaltestellen
harbour             m Hafen Hafens Häfen
entrance            m Eingang Eingangs Eingänge
border              f Grenze Grenzen
petrol station      f Tankstelle Tankstellen
kiosk               m Kiosk Kiosks Kioske

[area]
city                f Stadt Städte
forest              m Wald Waldes Wälder
park                m Park Parks Parks
village             n Dorf Dorfes Dörfer
zoo                 m Zoo Zoos Zoos
valley              n Tal Tales Täler
desert              f Wüste Wüsten
jungle              m Dschungel Dschungels

[shore]
lake                m See Sees Seen
river               m Fluss Flusses Flüsse
sea                 n Meer Meeres
pond                m Teich Teiches Teiche
coast               f Küste Küsten

[ground]
market              m Markt Marktes Märkte
playground          m Spielplatz Spielplatzes Spielplätze
cemetery            m Friedhof Friedhofs Friedhöfe
campsite            m Campingplatz Campingplatzes Campingplätze

[open]
mountain            m Berg Berges Berge
island              f Insel Inseln
farm                m Bauernhof Bauernhofs Bauernhöfe
balcony             m Balkon Balkons Balkone
meadow              f Wiese Wiesen
terrace             f Terrasse Terrassen
hill                m Hügel Hügels Hügel

[building]
house               n Haus Hauses Häuser
flat                f Wohnung Wohnungen
bridge              f Brücke Brücken
tower               m Turm Turmes Türme
building            n Gebäude Gebäudes Gebäude
hut                 f Hütte Hütten
palace              m Palast Palastes Paläste

[way]
street              f Straße Straßen
road                f Straße Straßen
square              m Platz Platzes Plätze

[opening]
door                f Tür Türen
window              n Fenster Fensters Fenster
gate                n Tor Tores Tore

[wall]
wall                f Wand Wände

[story]
story               f Geschichte Geschichten
fairy tale          n Märchen Märchens Märchen
novel               m Roman Romans Romane
poem                n Gedicht Gedichts Gedichte
joke                m Witz Witzes Witze

[show]
film                m Film Films Filme
play                n Theaterstück Theaterstücks Theaterstücke
programme           f Sendung Sendungen
match               n Spiel Spiels Spiele

[music]
song                n Lied Liedes Lieder
opera               f Oper Opern
melody              f Melodie Melodien

[visual]
picture             n Bild Bildes Bilder
painting            n Gemälde Gemäldes Gemälde
drawing             f Zeichnung Zeichnungen
statue              f Statue Statuen
mirror              m Spiegel Spiegels Spiegel

[toy]
ball                m Ball Balles Bälle
doll                f Puppe Puppen
kite                m Drachen Drachens Drachen
balloon             m Luftballon Luftballons Luftballons

[event]
party               f Party Partys
meeting             f Besprechung Besprechungen
concert             n Konzert Konzerts Konzerte
exam                f Prüfung Prüfungen
journey             f Reise Reisen
wedding             f Hochzeit Hochzeiten
course              m Kurs Kurses Kurse
conference          f Konferenz Konferenzen
competition         m Wettbewerb Wettbewerbs Wettbewerbe
festival            n Fest Festes Feste
lecture             f Vorlesung Vorlesungen
election            f Wahl Wahlen
exhibition          f Ausstellung Ausstellungen

[problem]
problem             n Problem Problems Probleme
task                f Aufgabe Aufgaben
question            f Frage Fragen
riddle              n Rätsel Rätsels Rätsel

[idea]
idea                f Idee Ideen
plan                m Plan Planes Pläne
answer              f Antwort Antworten
decision            f Entscheidung Entscheidungen
rule                f Regel Regeln
proposal            m Vorschlag Vorschlags Vorschläge
mistake             m Fehler Fehlers Fehler
solution            f Lösung Lösungen
explanation         f Erklärung Erklärungen
method              f Methode Methoden
result              n Ergebnis Ergebnisses Ergebnisse
secret              n Geheimnis Geheimnisses Geheimnisse
example             n Beispiel Beispiels Beispiele
word                n Wort Wortes Wörter
sentence            m Satz Satzes Sätze
law                 n Gesetz Gesetzes Gesetze
theory              f Theorie Theorien
dream               m Traum Traumes Träume

[plant]
tree                m Baum Baumes Bäume
flower              f Blume Blumen
rose                f Rose Rosen
plant               f Pflanze Pflanzen
bush                m Busch Busches Büsche
apple tree          m Apfelbaum Apfelbaumes Apfelbäume
tulip               f Tulpe Tulpen
oak                 f Eiche Eichen

[body]
head                m Kopf Kopfes
back                m Rücken Rückens
foot/feet           m Fuß Fußes Füße
hand                f Hand Hände
leg                 n Bein Beines Beine
arm                 m Arm Armes Arme
tooth/teeth         m Zahn Zahnes Zähne
knee                n Knie Knies Knie
stomach             m Bauch Bauches
ear                 n Ohr Ohres Ohren
eye                 n Auge Auges Augen
finger              m Finger Fingers Finger
shoulder            f Schulter Schultern

[group]
family              f Familie Familien
team                f Mannschaft Mannschaften
company             f Firma Firmen
class               f Klasse Klassen
government          f Regierung Regierungen
choir               m Chor Chores Chöre

[cause]
rain                m Regen Regens
weather             n Wetter Wetters
snow                m Schnee Schnees
traffic             m Verkehr Verkehrs
noise               m Lärm Lärms
storm               m Sturm Sturmes Stürme
accident            m Unfall Unfalls Unfälle
illness             f Krankheit Krankheiten
strike              m Streik Streiks Streiks
heat                f Hitze
cold                f Kälte
fog                 m Nebel Nebels

[material]
wood                n Holz Holzes
glass               n Glas Glases
gold                n Gold Goldes
leather             n Leder Leders
stone               m Stein Steines
paper               n Papier Papiers
silver              n Silber Silbers
wool                f Wolle
iron                n Eisen Eisens
silk                f Seide

[possession]
money               n Geld Geldes
luggage             n Gepäck Gepäcks

[feature]
colour              f Farbe Farben
price               m Preis Preises Preise
owner               m Besitzer Besitzers Besitzer
size                f Größe Größen

[part]
roof                n Dach Daches Dächer
wall                f Wand Wände

[authorship]
author              m Autor Autors Autoren
title               m Titel Titels Titel
end                 n Ende Endes
beginning           m Anfang Anfangs

[edge]
bank                n Ufer Ufers Ufer
shore               n Ufer Ufers Ufer

[unit]
day                 m Tag Tages Tage
hour                f Stunde Stunden
week                f Woche Wochen
month               m Monat Monats Monate
year                n Jahr Jahres Jahre
minute              f Minute Minuten

[occasion]
birthday            m Geburtstag Geburtstages Geburtstage
victory             m Sieg Sieges Siege
success             m Erfolg Erfolges Erfolge

[job]
job                 f Stelle Stellen

[bill]
bill                f Rechnung Rechnungen

[sport]
football            m Fußball Fußballs
tennis              n Tennis Tennis
chess               n Schach Schachs
basketball          m Basketball Basketballs
handball            m Handball Handballs
volleyball          m Volleyball Volleyballs
golf                n Golf Golfs

[instrument]
piano               n Klavier Klaviers
guitar              f Gitarre
violin              f Geige
flute               f Flöte
trumpet             f Trompete
drum                f Trommel

[language]
German              n Deutsch Deutschs
English             n Englisch Englischs
French              n Französisch Französischs
Spanish             n Spanisch Spanischs
Italian             n Italienisch Italienischs
Russian             n Russisch Russischs
Polish              n Polnisch Polnischs
Turkish             n Türkisch Türkischs

[subject]
mathematics         f Mathematik
history             f Geschichte
physics             f Physik
music               f Musik
biology             f Biologie
chemistry           f Chemie
medicine            f Medizin
art                 f Kunst
geography           f Geografie
"""
