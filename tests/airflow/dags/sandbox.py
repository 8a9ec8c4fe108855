"""A Dag without the provider: proves that the Airflow of the tests works at all."""

from airflow.sdk import DAG, Param, task

with DAG("sandbox", schedule=None, params={"numbers": Param([1, 2, 3], type="array"), "fail": False}):

    @task
    def numbers(params=None):
        return params["numbers"]

    @task
    def square(number, params=None):
        print(f"squaring {number}")
        if params["fail"]:
            raise ValueError(f"{number} was to fail")
        return number * number

    square.expand(number=numbers())
