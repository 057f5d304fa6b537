"""The adjectives: English, German, irregular comparison, and the kinds of noun that they describe. No code.

    english[, comparative, superlative] | stem [comparative superlative] | kinds

The German comparative and superlative (without "am", ending in -st) are given where they are not the rule's ("-"); "x"
means that the adjective is never compared. A kind that ends in "_" is one noun (city_). One English adjective may
have several entries if their kinds differ (a short text is kurz, a short man klein).
"""

ADJECTIVES = """
old | alt älter ältest | person animal building clothing car transport device city_ tree_ picture_ book_ surface
new | neu neuer neuest | text small clothing car device building surface upright show music colleague_ teacher_ idea
small | klein kleiner kleinst | animal room building container small toy plant city_ village_ child_ girl_ boy_
big | groß größer größt | animal room building container plant city_ problem_ mistake_ lake_ forest_ table_ transport
large | groß größer größt | room building surface city_ family_ garden_
good, better, best | gut besser best | idea problem story show music food dish drink text teacher_ doctor_ friend_
young | jung jünger jüngst | people professional animal
beautiful | schön schöner schönst | woman_ princess_ clothing visual building room music flower_ city_ island_ lake_
expensive | teuer teurer teuerst | clothing car device surface visual small upright flat_ hotel_ restaurant_
red | rot x x | clothing car_ bicycle_ flower_ rose_ apple_ ball_ container surface upright bus_ door_ balloon_
tall | groß größer größt | person tree_ giraffe_
tall | hoch höher höchst | building_ tower_
high | hoch höher höchst | mountain_ wall_ price_ hill_
long | lang länger längst | text story show river_ journey_ rope_ street_ coat_ dress_ scarf_ event
short | kurz kürzer kürzest | text story show journey_ skirt_ rope_ answer_ sentence_ word_
short | klein kleiner kleinst | person
cheap | billig - - | clothing car device surface small upright hotel_ restaurant_ food drink
clever | klug klüger klügst | person fox_ dog_ monkey_
friendly | freundlich - - | person dog_
tired | müde müder müdest | person horse_ dog_
ill | krank x x | person animal
happy | glücklich - - | person
sad | traurig trauriger traurigst | person story_ film_ song_
rich | reich - - | people professional uncle_ aunt_
poor | arm ärmer ärmst | people farmer_ artist_ poet_ family_
strong | stark stärker stärkst | man_ animal farmer_ coffee_ tea_ storm_ bear_
weak | schwach schwächer schwächst | patient_ king_ coffee_ tea_ light_
heavy | schwer - - | container surface upright flat machine_ printer_
light | leicht leichter leichtest | container jacket_ coat_ blanket_
light | hell - - | room
dark | dunkel dunkler dunkelst | room forest_ street_ cupboard_ colour_
difficult | schwierig - - | problem idea event language text
easy | einfach - - | problem language recipe_ word_ method_ exam_
simple | einfach - - | solution_ plan_ rule_
important | wichtig - - | idea problem event text meeting_
interesting | interessant - - | text story show idea subject city_ museum_ visual event
boring | langweilig - - | text story show event subject
exciting | spannend - - | story film_ match_ book_
fresh | frisch - - | food dish milk_ juice_
hot | heiß - - | soup_ coffee_ tea_ milk_ potato_ sausage_ oven_
cold | kalt kälter kältest | drink soup_ room house_ lake_ weather_
warm | warm wärmer wärmst | coat_ jumper_ jacket_ scarf_ blanket_ bread_ room house_ water_ glove_
sweet | süß - - | food tea_ wine_ chocolate_ cake_
sour | sauer saurer sauerst | lemon_ apple_ cherry_ milk_ yoghurt_
delicious | lecker - - | food dish
ripe | reif - - | apple_ pear_ banana_ tomato_ plum_ cherry_ strawberry_
white | weiß x x | clothing horse_ cat_ car_ house_ wall_ rabbit_ flower_ cup_ plate_
black | schwarz x x | clothing horse_ cat_ dog_ car_ container suitcase_
blue | blau x x | clothing car_ bicycle_ upright container sea_ ball_ door_
green | grün x x | clothing meadow_ apple_ bottle_ door_ tree_ frog_ parrot_
yellow | gelb x x | clothing flower_ tulip_ bus_ banana_ balloon_
brown | braun x x | clothing bear_ dog_ horse_ cow_ container table_
grey | grau x x | clothing mouse_ wolf_ donkey_ elephant_ wall_
clean | sauber - - | clothing upright room towel_ window_ plate_
dirty | schmutzig - - | clothing upright room car_ towel_ street_ window_
broken | kaputt x x | device car toy chair_ umbrella_ window_
modern | modern - - | building device car flat_ visual office_ museum_
empty | leer x x | container bottle_ glass_ cup_ bucket_ can_ room bus_ train_ wallet_
full | voll x x | container bottle_ glass_ cup_ jug_ can_ bus_ train_ bucket_
round | rund x x | table_ carpet_ window_ ball_ box_
wet | nass - - | clothing towel_ dog_ street_ bench_
dry | trocken - - | towel_ bread_ shirt_
comfortable | bequem - - | sofa_ chair_ bed_ armchair_ shoe_ boot_
wide | breit - - | street_ river_ bed_ bridge_ road_
narrow | eng - - | street_ room valley_ skirt_
deep | tief - - | lake_ river_ sea_ pond_
fast | schnell - - | car horse_ train_ ship_ boat_ computer_
slow | langsam - - | bus_ train_ horse_ donkey_ turtle_ computer_ waiter_
thick | dick - - | book_ dictionary_ coat_ blanket_ jumper_ wall_ tree_ rope_
fat | dick - - | cat_ pig_ man_ dog_ baker_
thin | dünn - - | rope_ book_ blanket_ dog_ horse_ boy_
wild | wild - - | animal
dangerous | gefährlich - - | animal journey_ street_ thief_ illness_
sharp | scharf schärfer schärfst | knife_ sword_ saw_
famous | berühmt - - | professional painting_ museum_ city_ castle_ story_ song_
lazy | faul - - | pupil_ student_ cat_ brother_ donkey_ neighbour_ colleague_ son_
hard-working | fleißig - - | pupil_ student_ farmer_ colleague_ gardener_ sister_ daughter_ bee_
polite | höflich - - | waiter_ guest_ salesman_ boy_ girl_ child_ customer_ pupil_
brave | mutig - - | soldier_ prince_ princess_ king_ hero_ boy_ girl_ police_officer_ hunter_
shy | schüchtern - - | girl_ boy_ pupil_ child_ student_ squirrel_
lonely | einsam - - | man_ woman_ king_ queen_ island_ house_ grandfather_
angry | wütend - - | customer_ neighbour_ boss_ teacher_ father_ mother_ guest_ bear_ dog_
nervous | nervös - - | student_ patient_ actor_ singer_ pupil_ thief_ horse_
patient | geduldig - - | teacher_ nurse_ grandmother_ donkey_ mother_ doctor_ coach_
honest | ehrlich - - | salesman_ lawyer_ friend_ mechanic_ answer_ man_
hungry | hungrig - - | person animal
thirsty | durstig - - | child_ tourist_ horse_ dog_ soldier_ boy_
drunk | betrunken x x | driver_ guest_ soldier_ man_
curious | neugierig - - | child_ tourist_ cat_ neighbour_ journalist_ girl_ boy_
funny | lustig - - | story joke_ film_ professor_ uncle_ boy_ monkey_ picture_ word_
serious | ernst - - | problem_ man_ professor_ judge_ film_ illness_
careful | vorsichtig - - | driver_ pilot_ mother_ hunter_ cat_
jealous | eifersüchtig - - | husband_ wife_ sister_ brother_ queen_ actor_
blind | blind x x | man_ woman_ horse_ musician_ dog_
quiet | ruhig - - | street_ village_ room hotel_ child_ neighbour_ park_ guest_
loud | laut - - | machine_ music_ engine_ party_ radio_ child_ street_ washing_machine_ vacuum_cleaner_
strange | seltsam - - | story dream_ idea man_ woman_ noise_ question_ animal
stupid | dumm dümmer dümmst | mistake_ question_ idea rule_ thief_ joke_
wrong | falsch x x | answer_ decision_ ticket_ key_ word_ result_ train_ bus_ door_ book_
right | richtig x x | answer_ decision_ solution_ word_ key_ method_ train_ bus_ door_ house_ ticket_ book_
useful | nützlich - - | flat device dictionary_ method_ idea example_ rule_
valuable | wertvoll - - | ring_ painting_ statue_ stamp_ coin_ book_ vase_ violin_
rare | selten - - | stamp_ coin_ plant bird_ animal illness_ book_
secret | geheim x x | plan_ letter_ meeting_ report_ garden_ door_
popular | beliebt - - | teacher_ singer_ song_ restaurant_ actor_ mayor_ president_ show
successful | erfolgreich - - | actor_ company_ lawyer_ team_ film_ coach_ writer_ painter_
unusual | ungewöhnlich - - | idea method_ animal plant visual decision_
elegant | elegant - - | dress_ suit_ shoe_ hat_ restaurant_ hat_ woman_
lovely | hübsch - - | girl_ dress_ village_ garden_ house_ blouse_ hat_
ugly | hässlich - - | building clothing picture_ carpet_ statue_ sofa_ dog_
German | deutsch x x | tourist_ car_ film_ city_ professor_ soldier_ beer_ bread_ author_ newspaper_
French | französisch x x | cheese_ wine_ film_ tourist_ cook_ song_ restaurant_ president_
Italian | italienisch x x | restaurant_ wine_ cook_ opera_ shoe_ suit_ car_ waiter_
English | englisch x x | queen_ teacher_ tea_ book_ newspaper_ soldier_ garden_ team_ word_ sentence_
American | amerikanisch x x | president_ actor_ film_ tourist_ company_ scientist_
"""
