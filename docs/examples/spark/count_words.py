"""Counts the words of a text on the executors of a Spark cluster, and prints the most frequent ones."""

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("count-words").getOrCreate()
with open(sys.argv[1]) as text:
    # Read here and sent to the executors: they may be on other machines.
    lines = spark.sparkContext.parallelize(text.readlines(), 4)
counts = lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
for word, count in counts.takeOrdered(5, key=lambda pair: (-pair[1], pair[0])):
    print("counted", word, count)
print("executors", spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1)
spark.stop()
